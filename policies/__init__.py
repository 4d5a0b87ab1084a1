"""Plans under a memory budget for any dataflow graph.

A ``Problem`` is a networkx graph of tasks that take seconds and make values that take bytes, and a
budget on everything alive at once.  ``solve`` gives a ``Decision``: an order in which a task may
stand more than once (recomputed) and values may travel to slow memory and back, with its peak, its
seconds and a certified lower bound.  ``evaluate`` is the referee that prices any order.

>>> import networkx as nx
>>> graph = nx.DiGraph()
>>> for task, size in [("a", 4), ("b", 8), ("c", 1), ("d", 2)]:
...     graph.add_node(task, seconds=1, bytes=size)
>>> graph.add_edges_from([("a", "b"), ("b", "c"), ("a", "d"), ("c", "d")])
>>> problem = Problem(graph, budget=12, first_order=("a", "b", "c", "d"))
>>> decision = solve(problem, policy="exhaustive")
>>> decision.order, decision.peak_bytes, decision.status
(('a', 'b', 'c', 'a', 'd'), 12, <Status.OPTIMAL: 'optimal'>)

When the tasks stand in two stages, of which the known one runs once and the unknown one many times,
the question is what to keep of the first for the second: ``Problem(calls=..., loads=...)`` under
``Budget(rest=..., resident=..., peak=...)``; ``Decision.kept`` is the answer, ``policies.worth``
says what each value saves, and ``policies.adapters`` reads such problems from elsewhere.

>>> graph = nx.DiGraph()
>>> graph.add_node("factor", seconds=9, bytes=80)
>>> graph.add_node("answer", seconds=1, bytes=1, stage="unknown")
>>> graph.add_edge("factor", "answer")
>>> apart = Problem(graph, Budget(rest=100), Link(10.0), calls=50, loads="once")
>>> decision = solve(apart)
>>> dict(decision.kept), decision.seconds
({'factor': <Choice.SAVE: 'save'>}, 67.0)

This package knows graphs, costs and budgets, and nothing of what the tasks compute.
"""

from policies.budget import Budget
from policies.decision import Decision, Fetch, Free, Status, Store
from policies.errors import Infeasible, InvalidDecision, InvalidProblem, PolicyError
from policies.evaluate import Evaluation, evaluate
from policies.frontier import frontier
from policies.policy import Limits, Policy
from policies.problem import Choice, Link, Option, Problem, Value
from policies.solve import solve

__all__ = [
    "Budget",
    "Choice",
    "Decision",
    "Evaluation",
    "Fetch",
    "Free",
    "Infeasible",
    "InvalidDecision",
    "InvalidProblem",
    "Limits",
    "Link",
    "Option",
    "Policy",
    "PolicyError",
    "Problem",
    "Status",
    "Store",
    "Value",
    "evaluate",
    "frontier",
    "solve",
]
