"""`ckpt doctor`, also where things are missing."""

import json
from types import SimpleNamespace

import pytest

from ckpt.cli import doctor

REQUIRES = [
    "numpy>=2.0",
    "scipy>=1.14",
    "matplotlib>=3.9; extra == 'plots'",
    'ckpt-compiler[plots]; extra == "quickstart"',
    "scikit-learn>=1.5; extra == 'quickstart'",
    "ckpt-compiler[quickstart]; extra == 'test'",
    "pytest>=8.3; extra == 'test'",
]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("CKPT_CACHE_DIR", str(tmp_path))
    return tmp_path


@pytest.fixture
def metadata(monkeypatch):
    monkeypatch.setattr(doctor, "distribution", lambda name: SimpleNamespace(requires=REQUIRES))


def test_on_this_machine(ckpt_, folder):
    code, out, _ = ckpt_("doctor")
    assert code == 0
    assert "processor" in out
    assert str(folder) in out
    code, out, _ = ckpt_("doctor", "--json")
    found = json.loads(out)
    assert found["processor"]["usable_cores"] >= 1
    assert found["cache"] == {
        "folder": str(folder / "kernels"),
        "kernels": 0,
        "bytes": 0,
        "plans": 0,
        "plan_bytes": 0,
        "writable": True,
    }


def test_extras_are_followed_to_the_end(metadata):
    assert doctor.requirements() == {
        "": ["numpy", "scipy"],
        "plots": ["matplotlib"],
        "quickstart": ["matplotlib", "scikit-learn"],
        "test": ["matplotlib", "scikit-learn", "pytest"],
    }


def test_without_the_extras(ckpt_, metadata, monkeypatch):
    here = {"ckpt-compiler": "0.1.0", "numpy": "2.0", "scipy": "1.14"}
    monkeypatch.setattr(doctor, "installed", here.get)
    code, out, _ = ckpt_("doctor")
    assert code == 0
    for extra in ("plots", "quickstart", "test"):
        assert f"pip install 'ckpt-compiler[{extra}]'" in out
    assert "extra quickstart: missing matplotlib, scikit-learn" in out


def test_without_the_core(ckpt_, metadata, monkeypatch):
    monkeypatch.setattr(doctor, "installed", {"ckpt-compiler": "0.1.0", "numpy": "2.0"}.get)
    code, out, _ = ckpt_("doctor")
    assert code == 1
    assert "MISSING: pip install 'scipy'" in out


def test_not_installed_as_a_distribution(ckpt_, monkeypatch):
    def missing(name):
        raise doctor.PackageNotFoundError(name)

    monkeypatch.setattr(doctor, "distribution", missing)
    monkeypatch.setattr(doctor, "version", missing)
    code, out, _ = ckpt_("doctor")
    assert code == 0
    assert "not installed as a distribution" in out


def test_the_cache_is_counted(ckpt_, folder):
    plans = folder / "plans"
    plans.mkdir()
    (plans / "b.ckptplan").write_bytes(b"123")
    kernels = folder / "kernels"
    kernels.mkdir()
    (kernels / "a.ckptobj").write_bytes(b"12345")
    found = json.loads(ckpt_("doctor", "--json").out)["cache"]
    assert (found["kernels"], found["bytes"]) == (1, 5)
    assert (found["plans"], found["plan_bytes"]) == (1, 3)


def test_where_nothing_can_be_written(folder):
    (folder / "file").write_text("")
    assert not doctor.writable(folder / "file" / "kernels")
    assert doctor.writable(folder / "new" / "kernels")
