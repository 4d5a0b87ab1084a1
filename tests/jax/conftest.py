"""Tests of the JAX route: skipped where JAX is missing or too old."""

import pytest

jax = pytest.importorskip("jax", reason="ckpt.jax needs JAX")

if tuple(int(part) for part in jax.__version__.split(".")[:2]) < (0, 10):
    pytest.skip(f"ckpt.jax needs JAX 0.10, this is {jax.__version__}", allow_module_level=True)


@pytest.fixture(autouse=True)
def _plans(tmp_path, monkeypatch):
    monkeypatch.setenv("CKPT_CACHE_DIR", str(tmp_path))
