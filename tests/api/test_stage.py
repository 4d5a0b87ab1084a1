"""Partial evaluation as users see it: both programs, residuals, files, and what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest

import ckpt
import ckpt.numpy as cnp
from ckpt.ir.text import parse, to_text


def predict(x, y, star):
    n = x.shape[0]
    k = np.exp(-0.5 * (x[:, None] - x[None, :]) ** 2) + 0.1 * np.eye(n)
    w = np.tanh(k @ y)
    return np.exp(-0.5 * (star[:, None] - x[None, :]) ** 2) @ w


X, Y, STAR = np.linspace(0, 1, 40), np.linspace(1, 2, 40), np.linspace(0, 1, 3)


def split(**options):
    return ckpt.partial_eval(predict, known=("x", "y"), like=(X, Y, STAR), **options)


def gaussian_process(x, y, star):
    def kernel(a, b):
        d = a[:, None, :] - b[None, :, :]
        return np.exp(-0.5 * np.sum(d * d, axis=-1))

    factor = np.linalg.cholesky(kernel(x, x) + 0.1 * np.eye(len(x)))
    across = kernel(x, star)
    half = cnp.solve_triangular(factor, across, lower=True)
    return across.T @ cnp.cho_solve(factor, y), 1.0 - np.sum(half * half, axis=0)


POINTS = np.random.default_rng(0).normal(size=(60, 3))
DATA = POINTS, np.sin(POINTS[:, 0]), POINTS[:2] + 0.1


def test_the_known_part_runs_once_and_the_bits_are_those_of_the_whole():
    staged = split(calls=100)
    late = staged.bind(X, Y)
    for star in (STAR, STAR + 1):
        whole = ckpt.compile(predict)(X, Y, star)
        assert late(star).tobytes() == whole.tobytes()
        assert staged.late(staged.early(X, Y), star).tobytes() == whole.tobytes()
        assert staged.late(staged.early(y=Y, x=X), star=star).tobytes() == whole.tobytes()
    assert staged.residual_bytes == 2 * 320  # x and the weights; never the 40 x 40 matrix
    assert [r.op for r in staged.residuals] == ["", "tanh"]
    assert staged.residuals[1].source.file == __file__
    assert "tanh (test_stage.py" in str(staged.report)
    assert all(e.op.name != "tanh" for e in staged.late.program.eqns)


def test_programs_print_and_parse_back():
    staged = split()
    for half in (staged.early, staged.late):
        text = str(half)
        assert to_text(parse(text)) == "\n".join(
            line.split("  //")[0].rstrip() for line in text.splitlines()
        )


def test_the_ladder_of_a_gaussian_process():
    ladder = [
        ckpt.partial_eval(
            gaussian_process, ("x", "y"), like=DATA, at_hand="x", calls=1e4, budget=budget
        )
        for budget in ("64MB", 60 * 8)
    ]
    ops = [sorted(r.op for r in staged.residuals) for staged in ladder]
    assert ops == [["cholesky", "triangular_solve"], ["triangular_solve"]]  # factor and alpha
    assert [s.residual_bytes for s in ladder] == [60 * 60 * 8 + 480, 480]
    assert ladder[0].decision.seconds < ladder[1].decision.seconds
    whole = ckpt.compile(gaussian_process)(*DATA)
    for staged in ladder:
        found = staged.late(staged.early(*DATA[:2]), DATA[0], DATA[2])
        assert [a.tobytes() for a in found] == [a.tobytes() for a in whole]
        assert staged.bind(*DATA[:2])(DATA[2])[1].tobytes() == whole[1].tobytes()


def test_a_budget_on_the_peak_of_a_call_holds_for_its_plan_and_its_memory():
    free = ckpt.partial_eval(gaussian_process, ("x", "y"), like=DATA, at_hand="x", calls=1e4)
    lean = ckpt.partial_eval(
        gaussian_process, ("x", "y"), like=DATA, at_hand="x", calls=1e4,
        budget=ckpt.Budget(rest=480, peak="100kB"),
    )  # fmt: skip
    assert free.late.plan.budget_bytes is None
    assert lean.late.plan.peak_bytes <= lean.late.plan.budget_bytes == 100_000
    residuals = lean.early(*DATA[:2])
    stats = lean.late.half.executable.measure(
        *residuals.values(), DATA[0], DATA[2], *lean.late.constants
    )
    assert stats.measured_peak_bytes <= 100_000
    with pytest.raises(ckpt.BudgetError):
        ckpt.partial_eval(
            gaussian_process, ("x", "y"), like=DATA, calls=1e4, budget=ckpt.Budget(peak="5kB")
        )


def test_what_is_loaded_in_every_call_takes_no_memory_between_calls():
    def f(a, u):
        return np.sum(np.exp(a)[:, None] * u, axis=0)

    a, u = np.linspace(0, 1, 4096), np.linspace(0, 1, 2)
    link, terms = ckpt.Link(1e12, 1e-12), {"like": (a, u), "calls": 10}
    here = ckpt.partial_eval(f, "a", load=link, **terms)
    away = ckpt.partial_eval(f, "a", load=link, loads="every_call", **terms)
    assert [r.choice for r in here.residuals] == [ckpt.Choice.SAVE]
    assert [r.choice for r in away.residuals] == [ckpt.Choice.OFFLOAD]
    assert away.report.bill.resident_bytes == 0 < away.report.bill.rest_bytes == a.nbytes
    assert here.late.plan.input_bytes == a.nbytes + u.nbytes
    assert away.late.plan.input_bytes == u.nbytes
    assert away.bind(a)(u).tobytes() == here.bind(a)(u).tobytes()
    # an argument that is loaded travels in the same way
    given = ckpt.partial_eval(lambda a, u: a * u, "a", like=(a, a), load=link, loads="every_call")
    assert [(r.op, r.choice) for r in given.residuals] == [("", ckpt.Choice.OFFLOAD)]
    assert given.bind(a)(2 * a).tobytes() == (a * (2 * a)).tobytes()


def test_everything_known_and_nothing_known():
    everything = ckpt.partial_eval(predict, ("x", "y", "star"), like=(X, Y, STAR))
    assert everything.late.program.eqns == ()
    assert everything.residuals == ()
    whole = ckpt.compile(predict)(X, Y, STAR)
    assert everything.bind(X, Y, STAR)().tobytes() == whole.tobytes()
    nothing = ckpt.partial_eval(predict, (), like=(X, Y, STAR))
    assert nothing.early.program.eqns == ()
    assert nothing.bind()(X, Y, STAR).tobytes() == whole.tobytes()


@pytest.mark.parametrize("loads", ["once", "every_call"])
def test_residuals_read_back_from_a_file(tmp_path, loads):
    link = ckpt.Link(1e9, 1e-9)
    staged = split(load=link, loads=loads, calls=10)
    residuals = staged.early(X, Y)
    residuals.save(tmp_path / "r.safetensors")
    for mmap in (True, False):
        again = staged.load(tmp_path / "r.safetensors", mmap=mmap)
        assert list(again) == list(residuals) == [r.name for r in staged.residuals]
        assert again.nbytes == staged.residual_bytes == staged.report.bill.rest_bytes
        assert staged.late(again, STAR).tobytes() == staged.bind(X, Y)(STAR).tobytes()
    assert not [p for p in tmp_path.iterdir() if p.name != "r.safetensors"]


def test_known_results_travel_with_the_residuals(tmp_path):
    staged = ckpt.partial_eval(lambda a, u: (np.exp(a), a * u), "a", like=(X, X))
    staged.early(X).save(tmp_path / "r")
    first, second = staged.late(staged.load(tmp_path / "r"), Y)
    assert first.tobytes() == ckpt.compile(np.exp)(X).tobytes()
    assert second.tobytes() == (X * Y).tobytes()


def test_damaged_files_are_refused(tmp_path):
    staged, file = split(), tmp_path / "r"
    staged.early(X, Y).save(file)
    whole = file.read_bytes()
    length = int.from_bytes(whole[:8], "little")
    header = json.loads(whole[8 : 8 + length])
    edited = [
        b"",
        whole[:7],
        whole[:100],
        whole[:-1],
        whole + b"\0",
        whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:],
        (2**60).to_bytes(8, "little") + whole[8:],
        whole[:8] + b"[" * length + whole[8 + length :],
    ]
    for key, value in (("dtype", "F32"), ("dtype", "F16"), ("shape", [-1]), ("shape", 3)):
        other = json.loads(json.dumps(header))
        other[staged.residuals[0].name][key] = value
        text = json.dumps(other).encode().ljust(length)
        edited.append(len(text).to_bytes(8, "little") + text + whole[8 + length :])
    for text in edited:
        file.write_bytes(text)
        for mmap in (True, False):
            with pytest.raises(ckpt.ResidualError, match="damaged"):
                staged.load(file, mmap=mmap)
    with pytest.raises(FileNotFoundError):
        staged.load(tmp_path / "none")


def test_stale_and_foreign_residuals_are_refused(tmp_path):
    file = tmp_path / "r"
    split().early(X, Y).save(file)
    smaller = ckpt.partial_eval(predict, ("x", "y"), like=(X[:9], Y[:9], STAR))
    single = ckpt.partial_eval(
        predict, ("x", "y"), like=[a.astype(np.float32) for a in (X, Y, STAR)]
    )
    other = ckpt.partial_eval(lambda x, y, star: x * star[0] + y, ("x", "y"), like=(X, Y, STAR))
    for staged in (smaller, single, other):
        with pytest.raises(ckpt.ResidualError, match="are of programs"):
            staged.load(file)
        with pytest.raises(ckpt.ResidualError, match="Run the early program"):
            staged.late(split().early(X, Y), STAR)
    good = split().early(X, Y)
    name = next(iter(good))
    for array in (good[name][:5], good[name].astype(np.float32)):
        bad = ckpt.Residuals({**good, name: array}, (), good.fingerprint)
        with pytest.raises(ckpt.ResidualError, match=f"residual '{name}' is"):
            split().late(bad, STAR)


def test_residuals_of_other_data_are_told_by_their_digest(tmp_path):
    staged = split(digest=True)
    staged.early(X, Y).save(tmp_path / "r")
    found = staged.load(tmp_path / "r")
    staged.check(found, X, Y)
    staged.check(found, y=Y.copy(), x=X)
    changed = X.copy()
    changed[7] = np.nextafter(changed[7], 2)
    with pytest.raises(ckpt.ResidualError, match="other known arguments"):
        staged.check(found, changed, Y)
    with pytest.raises(ckpt.ResidualError, match="digest=True"):
        staged.check(split().early(X, Y), X, Y)


def test_what_the_late_program_closes_over_is_part_of_its_fingerprint():
    def of(table):
        return ckpt.partial_eval(lambda a, u: np.sin(a) * u * table, "a", like=(X, X))

    one, same, other = of(Y), of(Y.copy()), of(2 * Y)
    assert one.fingerprint == same.fingerprint
    assert [r.op for r in one.residuals] == ["sin"]
    with pytest.raises(ckpt.ResidualError):
        other.late(one.early(X), X)


def test_what_was_made_early_belongs_to_each_caller():
    staged = ckpt.partial_eval(lambda a, u: (np.exp(a), a * u), "a", like=(np.zeros(3),) * 2)
    late = staged.bind(np.zeros(3))
    late(np.ones(3))[0][:] = 7
    np.testing.assert_array_equal(late(np.ones(3))[0], np.ones(3))


def test_a_stage_takes_what_was_traced():
    a = {"p": np.zeros(3), "q": np.ones(3)}
    staged = ckpt.partial_eval(lambda a, u: a["p"] * a["q"] * u, "a", like=(a, np.zeros(3)))
    late = staged.bind(a)
    with pytest.raises(ckpt.ArgumentError, match="traced as"):
        staged.bind({"p": np.zeros(3), "r": np.ones(3)})
    with pytest.raises(ckpt.ArgumentError, match="'u' is no known argument"):
        staged.bind(a, u=np.zeros(3))
    with pytest.raises(ckpt.ArgumentError, match="u is missing"):
        late()
    with pytest.raises(ckpt.ArgumentError, match="2 arguments given"):
        late(np.zeros(3), np.zeros(3))
    with pytest.raises(ckpt.ArgumentError, match="u has shape"):
        late(np.zeros(4))
    with pytest.raises(ckpt.ArgumentError, match="u has dtype float32"):
        late(np.zeros(3, np.float32))
    with pytest.raises(ckpt.ArgumentError, match="what the early one left"):
        staged.late(dict(staged.early(a)), np.zeros(3))


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"known": "z"}, ckpt.ArgumentError, "known names 'z'; the arguments are a, u"),
        ({"known": 2}, ckpt.ArgumentError, "known names 2"),
        ({"known": None}, ckpt.ArgumentError, "known is None: give names"),
        ({"like": np.zeros(3)}, ckpt.ArgumentError, "like is a ndarray"),
        ({"load": "1GB/s"}, ValueError, "link must be a Link"),
        ({"calls": 10**400}, ValueError, "calls must be positive and finite"),
        ({"at_hand": "z"}, ckpt.ArgumentError, "at_hand names 'z'"),
        ({"at_hand": "u"}, ckpt.ArgumentError, "at_hand names u, which is not known"),
        ({"budget": "0.5x"}, ckpt.ArgumentError, "bytes that cross"),
        ({"budget": "5 XB"}, ValueError, "unknown unit 'XB'"),
        ({"budget": 0}, ckpt.BudgetError, "values that must cross take 24 B"),
        ({"budget": 0}, ckpt.BudgetError, r"24 B  .*sin \(test_stage.py"),
        ({"budget": 23}, ckpt.BudgetError, "at_hand"),
        ({"budget": ckpt.Budget(peak=0)}, ckpt.BudgetError, "no"),
        ({"calls": 0}, ValueError, "calls must be positive and finite: 0"),
        ({"calls": np.inf}, ValueError, "calls must be positive and finite: inf"),
        ({"calls": np.nan}, ValueError, "calls must be positive and finite: nan"),
        ({"loads": "never"}, ValueError, "loads must be"),
        ({"policy": "wishful"}, ValueError, "wishful"),
    ],
)
def test_what_is_wrong_is_said(options, error, said):
    given = {"known": "a", "like": (np.zeros(3), np.zeros(3)), **options}
    with pytest.raises(error, match=said):
        ckpt.partial_eval(lambda a, u: np.sin(a) * u, **given)


@pytest.mark.parametrize("policy", ["staging", "keep_nothing", "keep_read", "own_density"])
def test_another_policy_may_choose(policy):
    staged = ckpt.partial_eval(
        predict, ("x", "y"), like=(X, Y, STAR), at_hand=("x", "y"), calls=9, policy=policy
    )
    kept = {"keep_nothing": []}.get(policy, ["tanh"])
    assert [r.op for r in staged.residuals] == kept
    whole = ckpt.compile(predict)(X, Y, STAR)
    assert staged.bind(X, Y)(STAR).tobytes() == whole.tobytes()


def test_a_budget_of_nothing_will_do_where_everything_is_at_hand():
    staged = ckpt.partial_eval(lambda a, u: np.sin(a) * u, "a", like=(X, X), at_hand="a", budget=0)
    assert staged.residuals == ()
    assert staged.bind(X)(Y).tobytes() == ckpt.compile(lambda a, u: np.sin(a) * u)(X, Y).tobytes()


def test_gradients_through_the_late_stage():
    staged = ckpt.partial_eval(gaussian_process, ("x", "y"), like=DATA)
    residuals = staged.early(*DATA[:2])

    def mean(star):
        return np.sum(staged.late(residuals, star)[0])

    def whole(star):
        return np.sum(gaussian_process(*DATA[:2], star)[0])

    found, wanted = ckpt.grad(mean)(DATA[2]), ckpt.grad(whole)(DATA[2])
    np.testing.assert_allclose(found, wanted, rtol=1e-12)
    bound = staged.bind(*DATA[:2])
    np.testing.assert_array_equal(ckpt.grad(lambda s: np.sum(bound(s)[0]))(DATA[2]), found)


def test_the_early_stage_may_be_differentiated_too():
    staged = ckpt.partial_eval(lambda a, u: np.sum(np.exp(a)) * u, "a", like=(X, np.float64(1)))
    found = ckpt.grad(lambda a: staged.late(staged.early(a), np.float64(3.0)))(X)
    np.testing.assert_allclose(found, 3 * np.exp(X), rtol=1e-12)


def test_a_gradient_is_split_as_any_function():
    def loss(w, x):
        return np.sum(np.tanh(np.sin(x) @ np.cos(x).T @ w))

    x, w = np.linspace(0, 1, 400).reshape(20, 20), np.linspace(0, 1, 20)
    step = ckpt.value_and_grad(loss)
    staged = ckpt.partial_eval(step, 1, like=(w, x), calls=10)
    assert [(r.op, r.type.shape) for r in staged.residuals] == [("dot", (20, 20))]
    for found, wanted in zip(staged.bind(x)(w), step(w, x), strict=True):
        assert found.tobytes() == wanted.tobytes()


def test_what_was_made_of_known_scores_is_not_made_again_for_the_sake_of_a_pattern():
    def f(q, k, v):
        return cnp.softmax(q @ k.T, axis=-1) @ v

    q, k, v = np.random.default_rng(0).normal(size=(3, 30, 4))
    scores = ckpt.partial_eval(f, ("q", "k"), like=(q, k, v), calls=10)
    assert [e.op.name for e in scores.late.program.eqns] == ["dot"]
    cache = ckpt.partial_eval(f, ("k", "v"), like=(q, k, v), calls=10)
    ops = {e.op.name for e in cache.late.program.eqns}
    assert "attention" in ops
    assert ops.isdisjoint({"exp", "dot"})
    assert [r.op for r in cache.residuals] == ["", ""]


def test_seconds_may_be_measured_here():
    def f(x, y, star):
        table = np.exp(np.sin(x)[:, None] + y[None, :])
        return np.sum(table[np.argsort(x)[:3]] * star[:, None])

    x, star = np.linspace(0, 1, 50), np.ones(3)
    guessed, measured = (
        ckpt.partial_eval(f, ("x", "y"), like=(x, x, star), calls=9, measure=m)
        for m in (False, True)
    )
    assert measured.report.seconds_per_call > 0
    assert measured.report.seconds_per_call != guessed.report.seconds_per_call
    assert measured.bind(x, x)(star).tobytes() == guessed.bind(x, x)(star).tobytes()


def test_lets_of_a_loop_are_measured_one_by_one():
    def f(a, u):
        def body(carry, row):
            return np.tanh(carry + row @ u), None

        return ckpt.scan(body, np.zeros(4), np.sin(a))[0]

    a, u = np.linspace(0, 1, 80).reshape(20, 4), np.eye(4)
    staged = ckpt.partial_eval(f, "a", like=(a, u), calls=9, measure=True)
    assert staged.report.seconds_per_call > 0
    assert staged.bind(a)(u).tobytes() == ckpt.compile(f)(a, u).tobytes()


def test_three_stages_are_two_splits_one_inside_the_other():
    def model(weights, prefix, x):
        wide = np.tanh(weights @ weights)
        return np.sum(np.tanh(wide @ prefix)) * np.tanh(wide @ x)

    w, p, x = np.eye(4) + 0.1, np.linspace(0, 1, 4), np.ones(4)
    build = ckpt.partial_eval(model, "weights", like=(w, p, x), budget=ckpt.Budget(rest=128))
    session = ckpt.partial_eval(
        build.late, known=(0, 1), at_hand=0, like=(build.like, p, x), budget=ckpt.Budget(rest=8)
    )
    built = build.early(w)
    assert [r.nbytes for r in session.residuals] == [8]  # what the session made; the rest is there
    opened = session.early(built, p)
    whole = ckpt.compile(model)(w, p, x)
    assert session.late(opened, built, x).tobytes() == whole.tobytes()
    assert session.bind(built, p)(x).tobytes() == whole.tobytes()
    with pytest.raises(ckpt.BudgetError):  # a budget for each boundary
        ckpt.partial_eval(build.late, (0, 1), like=(build.like, p, x), budget=8)
    other = ckpt.partial_eval(model, "weights", like=(w, p, x), budget=64, at_hand="weights")
    with pytest.raises(ckpt.ArgumentError):  # what another build left
        session.early(other.early(w), p)


def test_a_user_can_pin_what_is_kept():
    def f(a, u):
        return ckpt.save(np.sin(a), name="angle") * u

    staged = ckpt.partial_eval(f, "a", like=(X, X), at_hand="a", load=ckpt.Link(1.0), calls=1)
    assert [r.nbytes for r in staged.residuals] == [X.nbytes]
    free = ckpt.partial_eval(
        lambda a, u: np.sin(a) * u, "a", like=(X, X), at_hand="a", load=ckpt.Link(1.0)
    )
    assert free.residuals == ()


def test_files_are_those_of_the_safetensors_library(tmp_path):
    safetensors = pytest.importorskip("safetensors.numpy")
    staged = split()
    residuals = staged.early(X, Y)
    residuals.save(tmp_path / "r.safetensors")
    found = safetensors.load_file(tmp_path / "r.safetensors")
    assert {n: a.tobytes() for n, a in found.items()} == {
        n: a.tobytes() for n, a in residuals.items()
    }


def test_nothing_but_data_is_in_the_file(tmp_path):
    split().early(X, Y).save(tmp_path / "r")
    text = (tmp_path / "r").read_bytes()
    header = json.loads(text[8 : 8 + int.from_bytes(text[:8], "little")])
    assert set(header) == {"__metadata__", *split().early(X, Y)}
    assert Path(__file__).name.encode() not in text
