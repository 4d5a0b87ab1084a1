"""Tracing itself: arguments, constants, nesting, source lines, and what is refused."""

import threading
import types

import numpy as np
import pytest
import scipy.special

import ckpt.numpy as cnp
from ckpt.errors import TraceError, UnsupportedOpError
from ckpt.frontends.numpy import Spec, Tracer, emit_program, take_apart, trace
from ckpt.ir.interpret import interpret

X = np.arange(6.0).reshape(2, 3)


def test_arguments_are_named_typed_and_put_together_again():
    def f(params, x, *rest, scale=1.0, mode="a"):
        assert mode == "b"
        assert rest[1] is True
        return {"y": params["w"][0] * x * scale, "z": (params["b"], None, rest[0])}

    params = {"w": [np.ones(3, np.float32)], "b": np.int32(2)}
    traced = trace(f, (params, Spec((2, 3)), 3, True), {"scale": 2.0, "mode": "b"})
    assert traced.in_paths == ("params['b']", "params['w'][0]", "x", "rest[0]", "scale")
    assert [str(t) for t in traced.in_types] == ["i32[]", "f32[3]", "f64[2,3]", "i64[]", "f64[]"]
    assert traced.out_paths == ("result['y']", "result['z'][0]", "result['z'][2]")
    assert traced.arguments.statics == (True, "b")
    assert [v.name for v in traced.program.ins] == ["b", "w", "x", "rest", "scale"]
    assert traced.constants == ()


def test_functions_without_a_signature_are_traced_too():
    traced = trace(np.sin, (X,))
    assert traced.in_paths == ("x",) or traced.in_paths == ("args[0]",)
    assert traced.program.name == "sin"


def test_take_apart_tells_values_from_statics():
    taken = take_apart(lambda a, b: None, (1, {"k": "text", "f": np.sin, "n": None, "v": 2.5}))
    assert taken.values == (1, 2.5)
    assert taken.weak == (int, float)
    args, kwargs = taken.with_values((10, 20.0))
    assert args == (10, {"k": "text", "f": np.sin, "n": None, "v": 20.0})
    assert kwargs == {}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.zeros(2, np.uint8), r"x\['w'\]: dtype uint8 is not supported"),
        (np.zeros(2, complex), r"x\['w'\]: dtype complex128"),
        (1j, r"x\['w'\]: dtype complex128"),
        (np.asarray([None]), r"x\['w'\]: dtype object"),
        (np.ma.masked_array([1.0]), r"x\['w'\] is a MaskedArray"),
        (2**70, r"x\['w'\]"),
    ],
)
def test_unsupported_arguments_are_named(value, message):
    with pytest.raises(TraceError, match=message):
        trace(lambda x: x, ({"w": value},))


def test_closed_over_arrays_are_inputs_once_each():
    w = np.ones(3)
    v = np.arange(3)
    traced = trace(lambda x: x * w + x * w * v + 2.0 + np.float64(3), (X,))
    assert [c is k for c, k in zip(traced.constants, (w, v), strict=True)] == [True, True]
    (out,) = interpret(traced.program, X, *traced.constants)
    np.testing.assert_array_equal(out, X + X * v + 5)


def test_what_involves_no_tracer_is_numpys():
    seen = []

    def f(x):
        grid = np.linspace(0, 1, x.shape[1])
        seen.append(type(grid))
        return x * grid.sum()

    traced = trace(f, (X,))
    assert seen == [np.ndarray]
    assert len(traced.program.eqns) == 1


def test_a_constant_that_changes_is_refused():
    buffer = np.zeros(3)

    def f(x):
        y = x + buffer
        buffer[0] = 1.0
        return y

    with pytest.raises(TraceError, match=r"changed in place after a traced use .*\n.*copy"):
        trace(f, (X,))


def test_results_may_be_numbers_constants_and_arguments(same):
    w = np.arange(3)
    same(lambda x: (x, 2.0, w, {"a": x, "b": np.float32(1), "c": True}), X)
    with pytest.raises(TraceError, match=r"result\[1\] is a str"):
        trace(lambda x: (x, "text"), (X,))


def test_lets_carry_the_users_line():
    def f(x):
        y = np.sin(x)
        z = cnp.softmax(y)
        return z.sum()

    first = f.__code__.co_firstlineno
    program = trace(f, (X,)).program
    assert {e.source.file for e in program.eqns} == {__file__}
    assert program.eqns[0].source.line == first + 1
    assert {e.source.line for e in program.eqns} == {first + 1, first + 2, first + 3}


# nested traces


def inner_value(x, y):
    """A stand-in for a derivative: traced on its own, then emitted into the outer program."""
    traced = trace(lambda x: np.sin(x) * y, (x,))
    (out,) = emit_program(traced.program, [x, *traced.constants])
    return out


def test_traces_nest(same, run):
    def f(x, y):
        return inner_value(x, 2 * y) + 1

    found = run(f, X, X[0])
    np.testing.assert_allclose(found, np.sin(X) * 2 * X[0] + 1)


def test_traces_nest_thrice(run):
    def f(x, y):
        def middle(u):
            return inner_value(u, y) + inner_value(y, x)[None]

        traced = trace(middle, (x * 2,))
        assert all(isinstance(c, Tracer) for c in traced.constants)
        (out,) = emit_program(traced.program, [x * 2, *traced.constants])
        return out

    found = run(f, X, X[0])
    np.testing.assert_allclose(found, np.sin(2 * X) * X[0] + (np.sin(X[0]) * X)[None])


def test_python_numbers_of_an_outer_trace_stay_python_numbers(run):
    def f(x, a):
        traced = trace(lambda x: x * a, (x,))
        (out,) = emit_program(traced.program, [x, *traced.constants])
        return out

    assert run(f, np.float32([1, 2]), 2.5).dtype == np.float32


def test_emit_program_needs_a_trace():
    program = trace(np.sin, (X,)).program
    with pytest.raises(TraceError, match="only inside a function that is traced"):
        emit_program(program, [X])


def test_leaked_tracers_are_refused():
    kept = []
    trace(lambda x: kept.append(x) or x, (X,), name="leaky")
    with pytest.raises(
        TraceError, match=r"(?s)of 'leaky' is used after its trace ended.*Return it"
    ):
        kept[0] + 1
    with pytest.raises(TraceError, match="used after its trace ended"):
        trace(lambda x: x + kept[0], (X,))


def test_a_failed_trace_leaves_nothing_open():
    with pytest.raises(ZeroDivisionError):
        trace(lambda x: 1 / 0, (X,))
    trace(np.sin, (X,))


def test_threads_trace_on_their_own():
    errors = []

    def work():
        try:
            for _ in range(20):
                trace(lambda x: np.tanh(x @ x.T).sum(), (X,))
        except Exception as e:  # noqa: BLE001
            errors.append(e)

    threads = [threading.Thread(target=work) for _ in range(4)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert errors == []


# refusals: what, at which line, and what to write instead

REFUSED = {
    "if": (lambda x: 1 if x[0, 0] > 0 else 2, TraceError, "cannot branch.*np.where"),
    "and": (lambda x: x[0, 0] and x[0, 1], TraceError, "cannot branch.*`&`"),
    "in": (lambda x: 3 in x, TraceError, "cannot branch"),
    "float": (lambda x: float(x[0, 0]), TraceError, r"float\(\.\.\.\).*astype"),
    "int": (lambda x: int(x[0, 0]), TraceError, r"int\(\.\.\.\).*functools\.partial"),
    "complex": (lambda x: complex(x[0, 0]), TraceError, r"complex\(\.\.\.\)"),
    "range": (lambda x: range(x[0, 0]), TraceError, "operator.index"),
    "len": (lambda x: len(x[0, 0]), TraceError, "has no len"),
    "iterate": (lambda x: list(x[0, 0]), TraceError, "iterated over"),
    "format": (lambda x: f"{x[0, 0]:.3f}", TraceError, "formatted with '.3f'.*print it afterwards"),
    "setitem": (lambda x: x.__setitem__(0, 1), TraceError, r"x\[index\] = value.*x\.at\[index\]"),
    "delitem": (lambda x: x.__delitem__(0), TraceError, "in place"),
    "shape=": (lambda x: setattr(x, "shape", (6,)), TraceError, r"x\.shape = \.\.\."),
    "fill": (lambda x: x.fill(0), TraceError, r"x\.fill.*in place"),
    "sort": (lambda x: x.sort(), TraceError, r"np\.sort"),
    "item": (lambda x: x.item(), TraceError, "0-d array"),
    "unknown": (lambda x: x.meen(), TraceError, "no attribute 'meen'.*mean"),
    "buffer": (lambda x: np.zeros(3).__setitem__(0, x[0, 0]), TraceError, r"buffer\[i\] = value"),
    "buffer row": (lambda x: np.zeros((2, 3)).__setitem__(0, x[0]), TraceError, "np.stack"),
    "array": (lambda x: np.array([x[0], x[1]]), TraceError, r"of a list.*np\.stack"),
    "asarray": (np.asarray, TraceError, "leave the call out"),
    "list operand": (lambda x: x + [x[0], x[1]], TraceError, r"np\.stack"),  # noqa: RUF005
    "+=": (lambda x: np.zeros((2, 3)).__iadd__(x), TraceError, "augmented assignment"),
    "out=": (lambda x: np.sum(x, out=np.zeros(())), TraceError, r"np\.sum\(\.\.\., out=\.\.\.\)"),
    "copyto": (lambda x: np.copyto(x, 0), UnsupportedOpError, r"np\.copyto.*ckpt\.numpy\.update"),
    "add.at": (lambda x: np.add.at(x, 0, 1), TraceError, r"np\.add\.at.*x\.at"),
    "nonzero": (np.nonzero, UnsupportedOpError, r"np\.nonzero.*np\.where"),
    "where": (lambda x: np.where(x > 0), UnsupportedOpError, "depend on values"),
    "solve": (lambda x: np.linalg.solve(x[:, :2], x), UnsupportedOpError, "cho_solve"),
    "inv": (lambda x: np.linalg.inv(x[:, :2]), UnsupportedOpError, r"np\.linalg\.inv.*cho_solve"),
    "cbrt": (np.cbrt, UnsupportedOpError, r"np\.cbrt.*np\.sign"),
    "nearest": (np.nanstd, UnsupportedOpError, r"np\.nanstd.*Nearest.*np\.std"),
    "parameter": (lambda x: np.argsort(x, order="f"), UnsupportedOpError, r"order="),
    "special": (scipy.special.gammaln, UnsupportedOpError, r"scipy\.special\.gammaln"),
    "object": (lambda x: x + object(), TraceError, "dtype object"),
    "masked": (lambda x: x + np.ma.masked_array([1.0]), TraceError, "MaskedArray"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refusals_name_the_line_and_the_remedy(name):
    f, error, message = REFUSED[name]
    with pytest.raises(error, match=f"(?s){message}") as refused:
        trace(f, (X,))
    assert "test_trace.py:" in str(refused.value) or "conftest" in str(refused.value)


def test_libraries_that_convert_are_refused(run):
    with pytest.raises((TraceError, TypeError), match=r"ckpt\.numpy|not a supported"):
        run(scipy.special.softmax, X)


def test_missing_attributes_are_attribute_errors():
    def f(x):
        assert not hasattr(x, "meen")
        assert not hasattr(x, "__array_interface__")
        assert hasattr(x, "mean")
        assert "cumsum" in dir(x)
        return x

    trace(f, (X,))


def test_what_tracers_say_of_themselves():
    def f(x):
        assert repr(x) == f"{x}" == "Tracer(f64[2,3])"
        assert (x.shape, x.ndim, x.size, x.nbytes, x.itemsize, len(x)) == ((2, 3), 2, 6, 48, 8, 2)
        assert x.dtype == np.float64
        with pytest.raises(TypeError, match="unhashable"):
            hash(x)
        assert (x == None) is False  # noqa: E711
        assert x.__copy__() is x
        return x

    trace(f, (X,))


def test_foreign_pytree_leaves_stay_static():
    config = types.SimpleNamespace(depth=2)
    traced = trace(lambda x, c: x * c.depth, (X, config))
    assert traced.arguments.statics == (config,)
