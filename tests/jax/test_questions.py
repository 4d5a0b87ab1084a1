"""Plans from shapes, what they say, and what is refused."""

import json
import subprocess
import sys

import jax
import jax.extend
import jax.numpy as jnp
import pytest

import ckpt.jax
from ckpt import Budget
from ckpt.cost.device import DeviceError
from ckpt.errors import ArgumentError, BudgetError
from ckpt.jax.builtin import POLICIES
from ckpt.jax.internals import jaxpr_as_fun
from ckpt.jax.loops import Level, Scheme, Turns, loops_of
from ckpt.jax.planning import plan_for
from ckpt.jax.rewriting import rewritten
from ckpt.jax.trace import DifferentiationError, EffectError
from ckpt.jax.ways import Way
from tests.jax.functions import CASES, W, X, numbers, transcendental

SAME = Way(0, 0.0, 0.0, Budget())


def deep(w, x):
    for _ in range(8):
        x = jnp.tanh(x @ w)
    return x.sum()


def shapes(batch=4096, width=64):
    return tuple(jax.ShapeDtypeStruct(s, "float32") for s in ((width, width), (batch, width)))


def test_a_plan_keeps_its_budget_and_its_bound():
    whole = ckpt.jax.plan(deep, *shapes(), device="h100")
    assert whole.overhead == 0
    last = whole
    for share in (0.9, 0.7, 0.5):
        plan = ckpt.jax.plan(deep, *shapes(), budget=Budget(fraction=share), device="h100")
        assert plan.peak_bytes <= share * whole.peak_bytes + 1
        assert plan.bound_seconds <= plan.seconds
        assert plan.seconds >= last.seconds
        last = plan
    assert last.recomputed_matmul_flops > 0


def test_reserve_counts_as_alive():
    without = ckpt.jax.plan(deep, *shapes(), device="h100").peak_bytes
    budget = without + 2**20
    assert ckpt.jax.plan(deep, *shapes(), budget=budget, device="h100").overhead == 0
    tight = ckpt.jax.plan(deep, *shapes(), budget=budget, reserve="2MiB", device="h100")
    assert tight.peak_bytes <= budget
    assert tight.overhead > 0


def test_a_budget_that_cannot_be_met_names_one_that_can():
    with pytest.raises(BudgetError, match="alive together") as refused:
        ckpt.jax.plan(deep, *shapes(), budget="1MiB", device="h100")
    assert "test_questions.py" in str(refused.value)
    known = refused.value.min_bytes
    assert ckpt.jax.plan(deep, *shapes(), budget=known, device="h100").peak_bytes <= known


def test_side_effects_are_refused():
    def printing(w, x):
        jax.debug.print("{}", x[0, 0])
        return (x @ w).sum()

    with pytest.raises(EffectError, match=r"test_questions.py:\d+"):
        ckpt.jax.checkpoint(printing, device="h100")(W, X)


def test_pure_callbacks_run_once():
    def calling(w, x):
        same = jax.pure_callback(lambda a: a, jax.ShapeDtypeStruct(x.shape, x.dtype), x)
        return (jnp.sin(jax.lax.stop_gradient(same) * (x @ w))).sum()

    with pytest.raises(BudgetError) as refused:
        ckpt.jax.plan(calling, W, X, budget=1, device="h100")
    plan = ckpt.jax.plan(calling, W, X, budget=refused.value.min_bytes, device="h100")
    calls = [t for t, k in plan.kernels.tasks.items() if not k.again]
    runs = [s.task for s in (*plan.script.forward, *plan.script.backward) if s.kind == "run"]
    assert len(calls) == 1
    assert runs.count(calls[0]) == 1


def test_nothing_to_differentiate():
    with pytest.raises(DifferentiationError, match="argument"):
        ckpt.jax.plan(deep, *shapes(), argnums=(), device="h100")
    with pytest.raises(DifferentiationError, match="result"):
        ckpt.jax.plan(lambda w: w.astype(int), W, device="h100")
    with pytest.raises(ArgumentError, match="argnums"):
        ckpt.jax.plan(deep, *shapes(), argnums=3, device="h100")


def test_a_loop_of_unknown_length_has_no_reverse_mode():
    def grown(w):
        return jax.lax.while_loop(lambda x: x.sum() < 10, lambda x: 2 * x, w).sum()

    with pytest.raises(DifferentiationError, match=r"test_questions.py:\d+ has no reverse mode"):
        ckpt.jax.plan(grown, W, device="h100")


def test_only_functions_are_checkpointed():
    with pytest.raises(ArgumentError, match="not a int"):
        ckpt.jax.checkpoint(3)


def test_large_constants_are_counted_and_said():
    big = jnp.ones((1024, 512))
    plan = ckpt.jax.plan(lambda x: jnp.sin(x @ big).sum(), numbers(4, 1024), device="h100")
    assert plan.constant_bytes >= big.nbytes
    assert plan.argument_bytes >= big.nbytes
    assert "closes over" in str(plan)


def test_pins_keep_what_the_user_checkpointed():
    def f(w, x):
        g = jax.checkpoint(lambda x: jnp.sin(jnp.sin(x @ w) @ w))
        return g(g(x)).sum()

    args = shapes(width=16)
    kept = ckpt.jax.plan(f, *args, device="h100")
    freed = ckpt.jax.plan(f, *args, pins=False, device="h100")
    assert any(let.name in ("checkpoint", "remat2") for let in kept.kernels.joint.lets)
    assert not any(let.name in ("checkpoint", "remat2") for let in freed.kernels.joint.lets)
    assert freed.seconds < kept.seconds


def test_explain_says_what_why_and_what_xla_allocates():
    f = ckpt.jax.checkpoint(transcendental, budget="0.8x", device="h100")
    told = str(ckpt.jax.explain(f, W, X))
    for word in ("recompute", "save", "peak", "bound", "by XLA for cpu", "functions.py:"):
        assert word in told
    assert "by XLA" not in str(ckpt.jax.explain(f, W, X, compiled=False))


def test_the_estimate_of_a_scan_is_what_xla_allocates():
    def body(h, w):
        return jnp.tanh(jnp.tanh(h @ w) @ w.T), None

    def loss(ws, x):
        return (jax.lax.scan(body, x, ws)[0] ** 2).mean()

    args = (
        jax.ShapeDtypeStruct((12, 64, 256), "float32"),
        jax.ShapeDtypeStruct((8192, 64), "float32"),
    )
    whole = ckpt.jax.plan(loss, *args, device="h100")
    fixed = whole.problem.fixed_bytes
    for share in (0.7, 0.4):
        budget = int(fixed + share * (whole.peak_bytes - fixed))
        f = ckpt.jax.checkpoint(loss, budget=budget, device="h100")
        plan = ckpt.jax.plan(f, *args)
        step = jax.jit(jax.grad(f)).lower(*args).compile()
        found = step.memory_analysis().temp_size_in_bytes
        assert found == pytest.approx(plan.peak_bytes - fixed, rel=0.1)


def test_scans_are_planned_in_pieces_and_nested():
    f, (ws, x) = CASES["scanned"]
    ws = numbers(16, 16, 16) / 4
    whole = ckpt.jax.plan(f, ws, x, device="h100")
    free = whole.peak_bytes - whole.problem.fixed_bytes
    want = jax.jit(jax.value_and_grad(f))(ws, x)
    told = set()
    for share in (0.7, 0.4):
        g = ckpt.jax.checkpoint(
            f, budget=int(whole.problem.fixed_bytes + share * free), device="h100"
        )
        plan = ckpt.jax.plan(g, ws, x)
        assert plan.peak_bytes <= plan.decision.budget_bytes
        told.add(str(plan.level))
        for a, b in zip(
            jax.tree.leaves(want),
            jax.tree.leaves(jax.jit(jax.value_and_grad(g))(ws, x)),
            strict=True,
        ):
            assert jnp.abs(a - b).max() <= 2e-6 * jnp.abs(a).max()
    assert len(told) >= 2


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(
    "scheme",
    [
        Scheme((Turns(3, SAME), Turns(9, SAME)), 1),
        Scheme((Turns(1, SAME), Turns(2, SAME)), 4),
        Scheme((Turns(12, SAME),), 1, 3),
    ],
)
def test_schemes_of_a_scan_leave_it_what_it_is(scheme, reverse):
    def loss(ws, x, bias):
        def body(h, w):
            h = jnp.tanh(h @ w + bias)
            return h, h.sum(-1)

        h, sums = jax.lax.scan(body, x, ws, reverse=reverse)
        return (h * h).mean() + (sums * jnp.arange(12.0)[:, None]).mean()

    args = (numbers(12, 16, 16) / 4, X, W[0])
    jaxpr = jax.make_jaxpr(loss)(*args).jaxpr
    loops = loops_of(jaxpr, (True, True, True))
    level = Level((scheme,), 0, 0.0)
    other = rewritten(jaxpr, loops, level, lambda loop, cap: jaxpr_as_fun(loop.closed))
    again = jaxpr_as_fun(jax.extend.core.ClosedJaxpr(other, ()))
    want = jax.value_and_grad(loss, argnums=(0, 1, 2))(*args)
    found = jax.value_and_grad(lambda *a: again(*a)[0], argnums=(0, 1, 2))(*args)
    for a, b in zip(jax.tree.leaves(want), jax.tree.leaves(found), strict=True):
        assert jnp.abs(a - b).max() <= 2e-6 * jnp.abs(a).max()


def test_the_frontier_falls_and_no_policy_of_jax_is_below_it(tmp_path):
    curve = ckpt.jax.frontier(deep, *shapes(), points=4, device="h100")
    assert [m.name for m in curve.marks] == list(POLICIES)
    for mark in curve.marks:
        best = min(p.seconds for p in curve.plans if p.peak_bytes <= mark.peak_bytes)
        assert best <= mark.seconds * (1 + 1e-9)
    assert "nothing_saveable" in str(curve)
    curve.save(tmp_path / "curve.svg")
    assert (tmp_path / "curve.svg").read_text().startswith("<?xml")


def test_fit_finds_the_largest_batch():
    found = ckpt.jax.fit(deep, shapes, budget="4MiB", step=64, device="h100")
    assert found.plan.peak_bytes <= 4 * 2**20
    assert found.largest < found.refused <= 1.02 * found.largest + 64
    with pytest.raises(BudgetError):
        ckpt.jax.fit(deep, shapes, budget="1KiB", device="h100")
    with pytest.raises(ArgumentError, match="bytes"):
        ckpt.jax.fit(deep, shapes, budget="0.5x", device="h100")


def test_devices(tmp_path):
    for name in ("h100", "h200", "a100", "l4", "tpu_v5e", "cpu"):
        assert ckpt.jax.Accelerator.named(name).name == name
    with pytest.raises(DeviceError, match="h100"):
        ckpt.jax.Accelerator.named("abacus")
    file = tmp_path / "odd.yaml"
    file.write_text("name: odd\nflops_per_second: {f32: 0}\n")
    with pytest.raises(DeviceError, match="flops_per_second"):
        ckpt.jax.Accelerator.named(str(file))
    assert ckpt.jax.Accelerator.this().name == "cpu"


MODEL = """
import jax, jax.numpy as jnp

def loss(w, x):
    for _ in range(8):
        x = jnp.tanh(x @ w)
    return x.sum()

def example_inputs(batch=4096):
    return tuple(jax.ShapeDtypeStruct(s, "float32") for s in ((64, 64), (batch, 64)))
"""


def run(*tokens):
    return subprocess.run(
        [sys.executable, "-m", "ckpt", *tokens], capture_output=True, text=True, check=False
    )


def test_the_command_line(tmp_path):
    file = tmp_path / "model.py"
    file.write_text(MODEL)
    model = f"{file}:loss"
    made = run("plan", model, "--jax", "--budget", "6MiB", "--device", "h100", "--json")
    assert made.returncode == 0, made.stderr
    plan = json.loads(made.stdout)
    assert plan["peak_bytes"] <= 6 * 2**20
    assert plan["saved"]
    refused = run("plan", model, "--jax", "--budget", "6MiB", "--no-grad")
    assert refused.returncode == 1
    assert "--no-grad does not go together with --jax" in refused.stderr


def test_an_old_jax_is_refused_with_what_to_do():
    code = (
        "import sys, types; jax = types.ModuleType('jax'); jax.__version__ = '0.4.35'; "
        "sys.modules['jax'] = jax; import ckpt.jax; ckpt.jax.plan"
    )
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "JaxError: ckpt.jax needs JAX 0.10 or newer, this is 0.4.35: pip install" in made.stderr


def test_scans_are_planned_inside_under_vmap():
    f, (ws, _) = CASES["scanned"]
    ws, xs = numbers(16, 16, 16) / 4, numbers(3, 64, 16)
    free = ckpt.jax.checkpoint(f, device="h100")
    traced, _ = free.trace((ws, xs[0]), {})
    asked = traced.jaxpr, (True, False)
    whole = plan_for(*asked, free.request, (1, 3))
    assert whole.peak_bytes > 2 * plan_for(*asked, free.request).peak_bytes
    g = ckpt.jax.checkpoint(f, budget=int(0.6 * whole.peak_bytes), device="h100")
    plan = plan_for(*asked, g.request, (1, 3))
    assert plan.level is not None
    assert plan.peak_bytes <= 0.6 * whole.peak_bytes
    want = jax.jit(jax.vmap(jax.grad(f), (None, 0)))(ws, xs)
    found = jax.jit(jax.vmap(jax.grad(g), (None, 0)))(ws, xs)
    assert jnp.abs(want - found).max() <= 2e-6 * jnp.abs(want).max()


def test_scans_are_planned_inside_where_values_may_wait_in_host_memory():
    f, (_, x) = CASES["scanned"]
    ws = numbers(16, 16, 16) / 4
    g = ckpt.jax.checkpoint(f, budget="0.6x", device="h100", offload=True)
    plan = ckpt.jax.plan(g, ws, x)
    assert plan.level is not None
    assert plan.peak_bytes <= plan.decision.budget_bytes
    want, found = (jax.jit(jax.grad(h))(ws, x) for h in (f, g))
    assert jnp.abs(want - found).max() <= 2e-6 * jnp.abs(want).max()
