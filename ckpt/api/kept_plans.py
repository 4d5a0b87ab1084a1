"""Plans kept on disk: what was decided for a traced function is decided once on a machine.

An entry is one file of JSON, named by the hash of all that determines it: the traced program with
its lines, what is made of it, every option, the device, the processor, the versions of what plans,
and the source of `ckpt` and `policies`. It holds the program that runs, its plan and the decision,
as data. When it is read, the program is typed anew and the plan verified; an entry that does not
hold is a warning, and made again. Entries are written whole or not at all. The folder holds at
most `MOST_BYTES`: what was not used for longest goes.
"""

import hashlib
import json
import os
import warnings
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ckpt.api.derive import Joint
from ckpt.api.planning import Compiled, Options
from ckpt.choice import decision_from_json, decision_to_json, is_ours
from ckpt.codegen.cache import cache_folder, key_of, write_whole
from ckpt.codegen.compile import machine
from ckpt.cost.model import CostModel
from ckpt.errors import CkptError, PlanError
from ckpt.frontends.numpy import Traced
from ckpt.ir.record import UnrecordableError, from_record, to_record
from ckpt.plan.plan import Plan
from ckpt.plan.verify import verify

FORMAT = 1
VARIABLE = "CKPT_PLAN_CACHE"
"""The environment variable that turns this off, by "0"."""

MOST_BYTES = 1 << 26
_SUFFIX = ".ckptplan"
_PLANNERS = ("numpy", "numba", "scipy", "networkx", "ortools", "highspy")


class PlanCacheWarning(UserWarning):
    """An entry of the cache of plans cannot be used; it is made again."""


def key_for(traced: Traced, derived: str, options: Options) -> str | None:
    """The name of the entry for what is to be planned.

    Args:
        traced: the function.
        derived: what is made of it.
        options: how it is planned.

    Returns:
        None if nothing is kept: that is turned off, or a time limit, or code that is not part of
        `ckpt` or `policies` has a say in the plan.
    """
    limits = options.limits
    if os.environ.get(VARIABLE) == "0" or not is_ours(options.policy):
        return None
    if limits is not None and limits.time_seconds is not None:
        return None
    try:
        program = json.dumps(to_record(traced.program))
    except UnrecordableError:
        return None
    chosen = [asdict(options.budget), options.policy, limits and asdict(limits), options.fusion]
    device = options.device.model_dump_json()
    return key_of(str(FORMAT), program, derived, repr(chosen), device, machine(), _code())


@cache
def _code() -> str:
    """The source of all that plans, and the versions of what it calls, in one hash."""
    whole = hashlib.sha256()
    here = Path(__file__).parents[1]
    for file in sorted(_sources((here, here.parent / "policies"))):
        text = file.read_bytes()
        whole.update(f"{file.relative_to(here.parent)} {len(text)}\n".encode())
        whole.update(text)
    for name in _PLANNERS:
        with suppress(PackageNotFoundError):
            whole.update(f"{name} {version(name)}\n".encode())
    return whole.hexdigest()


def _sources(folders: Iterable[Path]) -> Iterable[Path]:
    for folder in folders:
        for suffix in ("*.py", "*.yaml"):
            yield from folder.rglob(suffix)


def read(key: str, traced: Traced, options: Options) -> Compiled | None:
    """What was kept, or None if there is nothing that holds.

    Args:
        key: from `key_for`.
        traced: the function.
        options: how it was planned.
    """
    path = _path(key)
    try:
        data = path.read_bytes()
    except OSError:
        return None
    try:
        found = _decoded(data, key, traced, options)
    except (CkptError, LookupError, TypeError, ValueError, RecursionError) as error:
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        warnings.warn(f"{path}: not used, made again: {said}", PlanCacheWarning, stacklevel=4)
        return None
    with suppress(OSError):
        os.utime(path)
    return found


def _decoded(data: bytes, key: str, traced: Traced, options: Options) -> Compiled:
    digest, _, body = data.partition(b"\n")
    if hashlib.sha256(body).hexdigest().encode() != digest:
        raise PlanError("it is damaged")
    held: Any = json.loads(body)
    if held["key"] != key:
        raise PlanError("it is another entry, renamed")
    program = from_record(held["program"])
    before = [v.type for v in traced.program.ins]
    if [v.type for v in program.ins] != before:
        raise PlanError("its program takes other arguments")
    n_known = held["n_known"]
    if type(n_known) is not int or not 0 <= n_known <= len(program.eqns):
        raise PlanError(f"its primal half ends at {n_known!r}")
    plan = Plan.from_json(held["plan"])
    if plan.costs_fingerprint != CostModel(options.device).fingerprint:
        raise PlanError("its plan is for another device")
    verify(plan, program)
    decision = decision_from_json(held["decision"])
    return Compiled(traced, Joint(program, n_known), decision, plan)


def write(key: str, made: Compiled) -> None:
    """Keep what was planned; where it cannot be written, the next process plans again."""
    try:
        program = to_record(made.joint.program)
        decision = decision_to_json(made.decision)
    except (UnrecordableError, ValueError):  # not data, or not finite
        return
    held = {
        "key": key,
        "n_known": made.joint.n_known,
        "program": program,
        "plan": made.plan.to_json(),
        "decision": decision,
    }
    body = json.dumps(held).encode()
    write_whole(_path(key), hashlib.sha256(body).hexdigest().encode() + b"\n" + body)
    _trim()


def _trim() -> None:
    """Remove what was not used for longest until the folder holds a quarter less than it may."""
    with suppress(OSError):
        found = [(f.stat(), f) for f in cache_folder("plans").glob(f"*{_SUFFIX}")]
        total = sum(stat.st_size for stat, _ in found)
        if total <= MOST_BYTES:
            return
        for stat, file in sorted(found, key=lambda x: x[0].st_mtime_ns):
            if total <= MOST_BYTES * 3 // 4:
                break
            file.unlink(missing_ok=True)
            total -= stat.st_size


def _path(key: str) -> Path:
    return cache_folder("plans") / f"{key}{_SUFFIX}"
