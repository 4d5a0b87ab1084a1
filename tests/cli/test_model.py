"""MODEL: what it may be, and what is said when it is not."""

import pytest
import yaml

from ckpt.cli import model
from ckpt.cli.model import ModelError, load


def test_a_function_that_returns_a_scalar_gets_its_gradient(net):
    subject = load(net)
    outs = [str(v.type) for v in subject.joint.program.outs]
    assert outs == ["f32[]", "f32[16,32]", *["f32[32,32]"] * 5, "f32[32,1]"]
    assert subject.wrt == (*[True] * 7, False, False)


def test_without_gradient(net):
    subject = load(net, gradient=False)
    assert subject.wrt is None
    assert [str(v.type) for v in subject.joint.program.outs] == ["f32[]"]


def test_a_function_that_returns_an_array_is_planned_as_it_is(net):
    subject = load(net.replace(":loss", ":hidden"))
    assert subject.wrt is None
    assert [str(v.type) for v in subject.joint.program.outs] == ["f32[256,32]"]


def test_changes_reach_example_inputs(net):
    shapes = [v.type.shape for v in load(net, changes={"batch": 3}).traced.program.ins]
    assert (3, 16) in shapes


def test_a_program(program):
    subject = load(str(program))
    assert subject.wrt == (True, True, True)
    assert len(subject.joint.program.outs) == 4


def test_a_golden_file_is_read_up_to_its_answer(program):
    program.write_text(program.read_text() + "// -----\nwhat the passes print\n")
    assert load(str(program)).traced.program.name == "f"


def test_a_linear_program_is_refused_with_what_to_do(tmp_path):
    file = tmp_path / "t.ir"
    file.write_text("t(x: lin f32[2]) -> (lin f32[2]) { y = neg x  return y }")
    with pytest.raises(ModelError, match="--passes forget"):
        load(str(file))


def test_configurations_come_from_the_entry_point(tmp_path, monkeypatch):
    file = tmp_path / "m.yaml"
    file.write_text(yaml.safe_dump({"n": 4}))
    seen = []

    class Entry:
        name = "some"

        @staticmethod
        def load():
            from ckpt.frontends.numpy import Spec

            def read(path, changes):
                seen.append((path, dict(changes)))
                return (lambda x: (x * x).sum()), (Spec((4,)),)

            return read

    monkeypatch.setattr(model, "entry_points", lambda group: [Entry])
    subject = load(str(file), changes={"n": 2})
    assert seen == [(file, {"n": 2})]
    assert len(subject.joint.program.outs) == 2
    monkeypatch.setattr(model, "entry_points", lambda group: [])
    with pytest.raises(ModelError, match="nobody here reads model configurations"):
        load(str(file))


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("nothing.yaml", "there is no file nothing.yaml"),
        ("nothing.ir", "there is no file nothing.ir"),
        ("nothing.py:f", "there is no file nothing.py"),
        ("nothing", "'nothing' is not a model"),
        ("NET", "name the function too, as in .*net.py:loss"),
        ("NET:los", "has no function 'los'; its functions are: loss, hidden"),
        ("NET:broken", "NameError: name 'undefined_name' is not defined\n  at .*net.py:17"),
    ],
)
def test_what_is_no_model(net, written, said):
    with pytest.raises(ModelError, match=said):
        load(written.replace("NET", net.removesuffix(":loss")))


def test_an_error_of_tracing_is_left_as_it_is(net, ckpt_):
    code, _, err = ckpt_("plan", net.replace(":loss", ":branches"))
    assert code == 1
    assert err.startswith("TraceError: ")
    assert "net.py:21" in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def f(x):\n    return x\n", "has no function example_inputs. Add one"),
        ("f = 3\n", "has no function 'f'"),
        ("def f(x):\n    return x\ndef example_inputs():\n    return 1.0\n", "return a tuple"),
        ("def f(x:\n", "SyntaxError"),
        ("import no_such_module_here\n", "ModuleNotFoundError: No module named"),
        (
            "def f(x):\n    return x\ndef example_inputs():\n    raise ValueError('no data')\n",
            "example_inputs: ValueError: no data\n  at .*m.py:4",
        ),
    ],
)
def test_what_is_wrong_with_a_module(tmp_path, text, said):
    file = tmp_path / "m.py"
    file.write_text(text)
    with pytest.raises(ModelError, match=said):
        load(f"{file}:f")


def test_a_keyword_that_example_inputs_lacks(net):
    with pytest.raises(ModelError, match="takes batch, depth; give it a keyword 'length'"):
        load(net, changes={"length": 4})


def test_shapes_of_a_program_are_fixed(program):
    with pytest.raises(ModelError, match="fixed"):
        load(str(program), changes={"batch": 4})
