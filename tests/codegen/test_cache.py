"""The disk cache: what is damaged is rebuilt, what differs has another name, processes agree."""

import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numba import njit

import ckpt.ops  # noqa: F401 (fills the registry)
from ckpt.codegen import build, cache
from ckpt.codegen import compile as compiling
from ckpt.codegen.kernels import MapKernel
from ckpt.errors import CodegenError
from ckpt.ir.op import OPS
from ckpt.ir.types import DType, Type
from tests.codegen.harness import executable, one_op

KEPT = compiling.Object(b"code", b"bitcode", "symbol")
NEGATE = MapKernel("neg", (DType.F64,), (DType.F64,), 1, "11")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty cache folder, and a process that has built nothing."""
    monkeypatch.setenv("CKPT_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(build, "_done", {})
    return tmp_path / "kernels"


def compiled(monkeypatch):
    """The kernels that are compiled from here on."""
    names = []
    before = compiling.compile_ir
    monkeypatch.setattr(
        build, "compile_ir", lambda name, text: (names.append(name), before(name, text))[1]
    )
    return names


def forget(monkeypatch):
    monkeypatch.setattr(build, "_done", {})


def test_entries_survive_and_damaged_ones_do_not():
    data = cache.encode(KEPT)
    assert cache.decode(data) == KEPT
    for cut in range(len(data)):
        assert cache.decode(data[:cut]) is None
    for i in range(len(data)):
        assert cache.decode(data[:i] + bytes([data[i] ^ 1]) + data[i + 1 :]) is None
    assert cache.decode(data + b"x") is None
    newer = data[:8] + struct.pack("<I", cache.FORMAT + 1) + data[12:]
    assert cache.decode(newer) is None


def test_keys_tell_parts_apart():
    assert cache.key_of("ab", "c") != cache.key_of("a", "bc")
    assert cache.key_of("ab") != cache.key_of("ab", "")


def test_a_kernel_is_compiled_once_and_then_read(folder, monkeypatch):
    names = compiled(monkeypatch)
    build.build([NEGATE, NEGATE])
    assert names == [NEGATE.name]
    assert len(list(folder.iterdir())) == 1
    forget(monkeypatch)
    build.build([NEGATE])
    assert names == [NEGATE.name]


@pytest.mark.parametrize("damage", [b"", b"rubbish", None])
def test_a_damaged_entry_is_rebuilt(folder, monkeypatch, damage):
    names = compiled(monkeypatch)
    build.build([NEGATE])
    (entry,) = folder.iterdir()
    good = entry.read_bytes()
    entry.write_bytes(good[:-1] + bytes([good[-1] ^ 1]) if damage is None else damage)
    forget(monkeypatch)
    build.build([NEGATE])
    assert names == [NEGATE.name] * 2
    assert cache.decode(entry.read_bytes()) is not None


def test_a_folder_that_cannot_be_written_costs_time_only(tmp_path, monkeypatch):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    monkeypatch.setenv("CKPT_CACHE_DIR", str(blocked))
    forget(monkeypatch)
    assert build.build([NEGATE])[0].address
    assert blocked.read_text() == "not a folder"


def test_an_interrupted_write_leaves_nothing_behind(folder, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(cache.Path, "replace", interrupt)  # the file is written, not yet renamed
    with pytest.raises(KeyboardInterrupt):
        cache.write("0" * 64, KEPT)
    assert list(folder.iterdir()) == []


SCRIPT = """
import numpy as np
from tests.codegen.harness import executable, one_op
from ckpt.ir.op import OPS
from ckpt.ir.types import DType, Type
for name in ("exp", "sin", "sum", "zero"):
    op = {"sum": lambda: OPS["sum"]((0,)), "zero": lambda: OPS["zero"](Type((4,), DType.F64))}
    made = one_op(op.get(name, OPS[name])(), [] if name == "zero" else [Type((4,), DType.F64)],
                  "contiguous")
    print([g.tolist() for g in executable(made.program)(*[np.arange(4.0)] * (name != "zero"))])
"""


def test_processes_that_share_a_folder_agree(tmp_path):
    env = {**os.environ, "CKPT_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(Path.cwd())}
    started = [
        subprocess.Popen([sys.executable, "-c", SCRIPT], env=env, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = [p.communicate()[0] for p in started]
    assert all(p.returncode == 0 for p in started)
    third = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=env, capture_output=True, text=True, check=True
    )
    assert said[0] == said[1] == third.stdout
    assert said[0].count("\n") == 4
    names = [f.name for f in (tmp_path / "kernels").iterdir()]
    assert names
    assert all(n.endswith(".ckptobj") for n in names)


def test_progress_is_told_about_what_takes_long(folder, monkeypatch):
    monkeypatch.setattr(build, "PATIENCE_SECONDS", -1.0)
    told = []
    made = one_op(OPS["neg"](), [Type((3,), DType.F64)], "contiguous")
    executable(made.program, progress=lambda *facts: told.append(facts))
    assert told == [(0, 1, NEGATE.name)]


def test_errors_carry_the_source():
    with pytest.raises(CodegenError, match=r"(?s)not valid LLVM IR.*define nonsense"):
        compiling.compile_ir("nonsense", "define nonsense")

    def kernel(record):
        return record.missing

    with pytest.raises(CodegenError, match="the source"):
        compiling.compile_function("kernel", kernel, "the source")


def test_functions_that_only_a_count_tells_apart_are_refused():
    """Each process counts for itself, so that objects of two would call each other's."""

    def made(seed: int):
        def mixed(x):
            for k in range(x):
                x = (x * seed + k) % (k + 7) if x % 3 else (x - seed) // (k + 2) + k
            return x

        return njit(mixed)

    first, second = made(3), made(5)

    def kernel(record):
        record[0] = first(record[1]) + first(record[2])
        record[3] = second(record[4]) + second(record[5])

    with pytest.raises(CodegenError, match="only a count tells apart"):
        compiling.compile_function("kernel", kernel, "the source")


def test_another_numba_is_refused(monkeypatch):
    monkeypatch.setattr(compiling.numba, "__version__", "0.99.0")
    with pytest.raises(CodegenError, match=r"works with 0\.61"):
        compiling.compile_ir("f", "")


def test_results_of_kept_kernels_are_the_same_bits(folder, monkeypatch):
    x = np.linspace(-2, 2, 7)
    made = one_op(OPS["tanh"](), [Type((7,), DType.F64)], "contiguous")
    (first,) = executable(made.program)(x)
    forget(monkeypatch)
    (second,) = executable(made.program)(x)
    assert first.tobytes() == second.tobytes()
