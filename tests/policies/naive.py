"""A quadratic simulator, written from the definition and from nothing else."""


def naive(problem, order):
    """Peak bytes and seconds of an order of tasks, or None if it cannot be run."""
    graph = problem.graph
    order = list(order)

    def roots(task):
        read = set()
        for source, _, data in graph.in_edges(task, data=True):
            names = data.get("reads", [v.name for v in problem.values(source)])
            read |= {problem.root(name).name for name in names}
        return read

    def own(task):
        return [v for v in problem.values(task) if v.root is None]

    kinds = {v.name: v for task in graph for v in own(task)}
    must = {
        problem.root(v.name).name for task in graph for v in problem.values(task) if v.must_live
    }
    firsts = list(dict.fromkeys(order))
    if set(firsts) != set(graph):
        return None
    if problem.first_order is not None and firsts != list(problem.first_order):
        return None
    unknown = [p for p, t in enumerate(order) if graph.nodes[t].get("stage") == "unknown"]
    late = len(order)
    if unknown:
        late = max([order.index(t) + 1 for t in order[: unknown[0]]], default=0)
    # every instance: value, born at, last read
    lives = []
    for p, task in enumerate(order):
        if task in order[:p]:
            can = problem.allowed(task)
            names = {c.value for c in can}
            if "recompute" not in names or graph.nodes[task].get("effects"):
                return None
        for source in graph.predecessors(task):
            if source not in order[:p]:
                return None
        for v in own(task):
            later = [q for q in range(p + 1, len(order)) if order[q] == task]
            end = later[0] if later else len(order)
            reads = [q for q in range(p + 1, end) if v.name in roots(order[q])]
            last = reads[-1] if reads else p
            if v.name in must and not later:
                last = len(order)
            lives.append((v, p, last))
            held = {c.value for c in problem.allowed(task)} != {"recompute"}
            if not held and p < late and v.bytes > 0:
                for q in reads:
                    if q >= late and graph.nodes[order[q]].get("stage") == "unknown":
                        return None
    peak = 0
    for p, task in enumerate(order):
        memory = sum(v.bytes for v, born, last in lives if born <= p <= last and v.space == "fast")
        memory += graph.nodes[task].get("workspace_bytes", 0)
        made = sum(v.bytes for v in own(task) if v.space == "fast")
        dying = {v.name: v.bytes for v, born, last in lives if last == p and born < p}
        taken = 0
        names = [problem.root(name).name for name in graph.nodes[task].get("overwrites", ())]
        if names:
            largest = max(names, key=lambda name: min(made, kinds[name].bytes))
            if largest in dying:
                taken = min(made, dying[largest])
        peak = max(peak, memory - taken)
    early = sum(graph.nodes[t]["seconds"] for t in order[:late])
    rest = sum(graph.nodes[t]["seconds"] for t in order[late:])
    return peak + problem.fixed_bytes, early + problem.calls * rest
