"""Tests of the PyTorch route: skipped where torch is missing."""

import warnings

import pytest

torch = pytest.importorskip("torch", reason="ckpt.torch needs PyTorch: pip install torch")


@pytest.fixture(autouse=True)
def _fresh_compiler():
    torch._dynamo.reset()
    # Inductor still uses it; the test settings make every warning an error.
    warnings.filterwarnings("ignore", r".torch\.jit\.script_method", DeprecationWarning)
    yield
    torch._dynamo.reset()
