"""`ckpt inspect`: each stage says what it should, and reads back where it can."""

import json

import numpy as np
import pytest

from ckpt.ir.check import check
from ckpt.ir.interpret import interpret
from ckpt.ir.text import parse


@pytest.fixture
def at(ckpt_, program):
    def look(stage, *options):
        code, out, err = ckpt_("inspect", program, "--at", stage, *options)
        assert code == 0, err
        return out

    return look


@pytest.mark.parametrize("stage", ["trace", "jvp", "primal", "tangent", "cotangent"])
def test_programs_read_back(at, stage):
    program = check(parse(at(stage)))
    linear = {"jvp": 3, "tangent": 3, "cotangent": 1}.get(stage, 0)
    assert len(program.linear_ins) == linear


@pytest.mark.parametrize("budget", ["1x", "0.7x"])
def test_the_halves_that_a_policy_chose_compute_the_gradient(at, budget):
    early = parse(at("primal", "--budget", budget))
    late = parse(at("cotangent", "--budget", budget))
    random = np.random.default_rng(0)
    x, u, w = (random.standard_normal(v.type.shape).astype(np.float32) / 4 for v in early.ins)
    s, *residuals = interpret(early, x, u, w)
    dx, du, dw = interpret(late, *residuals, np.float32(1))

    def value(w):
        return np.sum(np.tanh(np.tanh(np.tanh(x @ u) @ w) @ w) ** 2)

    x, u, w = (a.astype(np.float64) for a in (x, u, w))
    assert abs(value(w) - s) < 1e-4 * abs(s)
    towards = random.standard_normal(w.shape)
    step = 1e-6
    slope = (value(w + step * towards) - value(w - step * towards)) / (2 * step)
    # f32 gradients against an f64 difference quotient: four digits.
    assert abs(slope - np.sum(dw * towards)) < 1e-4 * np.linalg.norm(dw) * np.linalg.norm(towards)
    assert (dx.shape, du.shape) == (x.shape, u.shape)


def test_less_memory_leaves_fewer_residuals(at):
    def held(text):
        return sum(v.type.nbytes for v in parse(text).outs)

    assert held(at("primal", "--budget", "0.75x")) < held(at("primal", "--budget", "1x"))


def test_the_program_that_is_planned(at):
    def ops(*options):
        return {eqn.op.name for eqn in check(parse(at("fused", *options))).eqns}

    assert "fused" in ops()
    assert "fused" not in ops("--no-fusion")


def test_the_kernels(at):
    text = at("kernels", "--budget", "0.8x")
    assert "distinct kernels" in text
    assert "2x" in text
    again = at("kernels", "--no-fusion")
    assert again.count("\n") > text.count("\n")


def test_the_profile(at):
    text = at("profile")
    assert "the roofline of" in text
    assert "%" in text


def test_the_graph_as_table_json_and_dot(at, ckpt_, program, tmp_path):
    assert "tasks" in at("graph")
    data = json.loads(at("graph", "--json"))
    dot = tmp_path / "g.dot"
    at("graph", "--out", dot)
    text = dot.read_text()
    assert text.startswith("digraph")
    assert text.count(" -> ") == len(data["links"])
    assert text.count("[label=") == len(data["nodes"])


def test_the_graph_can_be_solved(ckpt_, program, tmp_path, at):
    graph = tmp_path / "g.json"
    at("graph", "--budget", "0.8x", "--out", graph)
    code, out, _ = ckpt_("solve", graph, "--json")
    assert code == 0
    assert json.loads(out)


def test_the_plan(at):
    assert json.loads(at("plan", "--json"))["program"] == "f_grad"
    assert "peak" in at("plan")


def test_the_timeline_as_text(at):
    text = at("timeline", "--budget", "0.9x")
    assert "<- peak" in text
    assert "peak at step" in text
    assert "\nbudget " in text


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_the_timeline_as_a_picture(at, tmp_path, suffix):
    file = tmp_path / f"memory.{suffix}"
    assert at("timeline", "--budget", "0.9x", "--out", file) == ""
    starts = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}
    assert file.read_bytes().startswith(starts[suffix])


def test_the_sources(at):
    text = at("source")
    assert "tanh" in text
    assert text.count("\n") > 50


def test_to_a_file(at, tmp_path):
    file = tmp_path / "trace.ir"
    assert at("trace", "--out", file) == ""
    assert parse(file.read_text()).name == "f"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--at", "trace", "--budget", "1MiB"], "--budget has no meaning at trace"),
        (["--at", "plan", "--out", "plan.png"], "only --at timeline and loop are drawn"),
        (["--at", "jvp", "--json"], "--json is for graph and plan"),
    ],
)
def test_options_that_do_not_go_together(ckpt_, program, options, said):
    code, _, err = ckpt_("inspect", program, *options)
    assert code == 1
    assert said in err


def test_an_unknown_stage_is_a_usage_error(ckpt_, program):
    code, _, err = ckpt_("inspect", program, "--at", "backward")
    assert code not in (0, None)
    assert "cotangent" in err
