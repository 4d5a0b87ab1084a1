"""Tests of the PyTorch route: skipped where torch is missing."""

import pytest

torch = pytest.importorskip("torch", reason="ckpt.torch needs PyTorch: pip install torch")


@pytest.fixture(autouse=True)
def _fresh_compiler():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()
