"""The commands together: help, versions, errors as one message."""

import inspect
import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest

from ckpt.cli import plugins
from ckpt.cli.app import OWN, make_app, with_plug_ins


@pytest.mark.parametrize("name", OWN)
def test_every_command_explains_itself_and_its_options(ckpt_, name):
    code, out, _ = ckpt_(name, "--help")
    assert code == 0
    assert f"ckpt {name}" in out
    function, _ = OWN[name]
    for parameter in inspect.signature(function).parameters:
        assert f"\n        {parameter}: " in function.__doc__, f"{name}: {parameter} has no help"


def test_help_names_all_commands_and_imports_nothing_heavy():
    code = (
        "import sys\nfrom ckpt.cli.app import run\nrun(['--help'])\n"
        "print([m for m in ('numpy', 'numba', 'ortools', 'networkx') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    *page, heavy = found.stdout.splitlines()
    assert heavy == "[]"
    for name in OWN:
        assert any(f" {name} " in line for line in page)


def test_version(ckpt_):
    code, out, _ = ckpt_("--version")
    assert code == 0
    assert out.strip()


def test_an_unknown_command_is_a_usage_error(ckpt_):
    code, _, err = ckpt_("plam")
    assert code not in (0, None)
    assert "plam" in err


def test_a_plug_in_adds_a_command(monkeypatch):
    entry = EntryPoint("shout", "tests_of_plug_ins:shout", plugins.GROUP)
    module = type(sys)("tests_of_plug_ins")

    def shout(word: str) -> int:
        print(word.upper())
        return 7

    module.shout = shout
    monkeypatch.setitem(sys.modules, "tests_of_plug_ins", module)
    monkeypatch.setattr(plugins, "entry_points", lambda group: [entry])
    app = with_plug_ins(make_app(), ["shout", "hello"])
    assert app(["shout", "hello"], result_action="return_value") == 7


def test_a_plug_in_does_not_replace_our_command(monkeypatch):
    entry = EntryPoint("plan", "nowhere_at_all:plan", plugins.GROUP)
    monkeypatch.setattr(plugins, "entry_points", lambda group: [entry])
    assert "plan" in with_plug_ins(make_app(), ["--help"])


def test_a_plug_in_that_cannot_be_loaded_is_one_message(ckpt_, monkeypatch):
    entry = EntryPoint("shout", "nowhere_at_all:shout", plugins.GROUP)
    monkeypatch.setattr(plugins, "entry_points", lambda group: [entry])
    code, _, err = ckpt_("shout")
    assert code == 1
    assert err.startswith("PlugInError: the command shout comes from nowhere_at_all:shout")
    code, out, _ = ckpt_("--help")
    assert code == 0
    assert "the package nowhere_at_all is missing" in out


def test_a_summary_is_read_without_importing(tmp_path, monkeypatch):
    package = tmp_path / "package_of_commands"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    (package / "cli.py").write_text('def go():\n    """Go there.\n\n    And back.\n    """\n')
    monkeypatch.syspath_prepend(tmp_path)
    entry = EntryPoint("go", "package_of_commands.cli:go", plugins.GROUP)
    assert plugins.summary(entry) == "Go there."


def test_a_bug_keeps_its_traceback(monkeypatch):
    from ckpt.cli import app

    monkeypatch.setitem(app.OWN, "ops", (lambda: 1 / 0, app.LOOKING))
    with pytest.raises(ZeroDivisionError):
        app.run(["ops"])


def test_an_interruption_ends_with_130(monkeypatch, capsys):
    from ckpt.cli import app

    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setitem(app.OWN, "ops", (interrupted, app.LOOKING))
    assert app.run(["ops"]) == 130
    assert "interrupted" in capsys.readouterr().err
