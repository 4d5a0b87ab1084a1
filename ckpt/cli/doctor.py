"""`ckpt doctor`: what is installed here, what is missing, and how to get it."""

import os
import platform
import re
import sys
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

DISTRIBUTION = "ckpt-compiler"
"""What packaging calls us; the import name was taken."""

_REQUIREMENT = re.compile(r"^\s*([A-Za-z0-9._-]+)\s*(?:\[([^\]]*)\])?[^;]*(?:;\s*(.*))?$")
_EXTRA = re.compile(r"""extra\s*==\s*['"]([^'"]+)['"]""")


def doctor(*, json: Annotated[bool, Parameter(name="--json")] = False) -> int:
    """Tell what is installed here, what is missing and how to add it, and what the machine has.

    Ends with exit code 1 when something that the core needs is missing.

    Args:
        json: print the report as JSON.
    """
    import json as text

    from rich.console import Console

    found = report()
    if json:
        print(text.dumps(found, indent=1))
    else:
        Console(highlight=False, soft_wrap=True).print(as_text(found), markup=False)
    return 1 if any(v is None for v in found["core"].values()) else 0


def report() -> dict[str, Any]:
    """Everything that doctor knows, as plain data."""
    wanted = requirements()
    core = {name: installed(name) for name in wanted.pop("", [])}
    extras = {
        extra: {name: installed(name) for name in names} for extra, names in sorted(wanted.items())
    }
    return {
        "ckpt": installed(DISTRIBUTION),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "core": core,
        "extras": extras,
        "commands": commands(),
        "cache": cache(),
        "processor": processor(),
        "memory": memory(),
    }


def requirements() -> dict[str, list[str]]:
    """Names of the distributions that each extra asks for; the core is the extra "".

    An extra that asks for another one of ours asks for all that it asks for.
    """
    try:
        written = distribution(DISTRIBUTION).requires or []
    except PackageNotFoundError:
        return {}
    direct: dict[str, list[str]] = {"": []}
    inherits: dict[str, list[str]] = {}
    for line in written:
        match = _REQUIREMENT.match(line)
        if match is None:
            continue
        name, inside, marker = match.groups()
        extra = _EXTRA.search(marker or "")
        key = extra.group(1) if extra else ""
        if name == DISTRIBUTION:
            inherits.setdefault(key, []).extend(x.strip() for x in (inside or "").split(","))
        else:
            direct.setdefault(key, []).append(name)

    def whole(extra: str) -> list[str]:
        below = [name for other in inherits.get(extra, []) for name in whole(other)]
        return list(dict.fromkeys([*below, *direct.get(extra, [])]))

    return {extra: whole(extra) for extra in {**direct, **inherits}}


def installed(name: str) -> str | None:
    """The version of an installed distribution; None when it is not there."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def commands() -> dict[str, str]:
    """The plug-ins that add commands, each with "ok" or what is wrong with it."""
    from ckpt.cli.plugins import plug_ins

    states: dict[str, str] = {}
    for entry in plug_ins().values():
        try:
            entry.load()
        except Exception as error:  # noqa: BLE001  # whatever is wrong is what we tell
            states[entry.name] = f"{type(error).__name__}: {error}"
        else:
            states[entry.name] = "ok"
    return states


def cache() -> dict[str, Any]:
    """Where kernels and plans are kept, how many, how large."""
    from ckpt.codegen.cache import cache_folder

    folder = cache_folder()
    kernels, kernel_bytes = _kept(folder)
    plans, plan_bytes = _kept(cache_folder("plans"))
    return {
        "folder": str(folder),
        "kernels": kernels,
        "bytes": kernel_bytes,
        "plans": plans,
        "plan_bytes": plan_bytes,
        "writable": writable(folder),
    }


def _kept(folder: Path) -> tuple[int, int]:
    """How many files a folder holds, and their bytes; other processes may remove some meanwhile."""
    sizes: list[int] = []
    for file in folder.glob("*") if folder.is_dir() else ():
        with suppress(OSError):
            if file.is_file():
                sizes.append(file.stat().st_size)
    return len(sizes), sum(sizes)


def writable(folder: Path) -> bool:
    """Whether a folder can be written to, or be made."""
    there = next((p for p in (folder, *folder.parents) if p.exists()), None)
    return there is not None and there.is_dir() and os.access(there, os.W_OK)


def processor() -> dict[str, Any]:
    """Its name, its cores, and how many of them this process may use."""
    from llvmlite import binding

    usable = os.cpu_count()
    if hasattr(os, "sched_getaffinity"):
        usable = len(os.sched_getaffinity(0))
    return {
        "machine": platform.machine(),
        "target": str(binding.get_host_cpu_name()),
        "cores": os.cpu_count(),
        "usable_cores": usable,
    }


def memory() -> dict[str, int | None]:
    """Bytes of memory, and the cap of the control group that we run in, where one can be read."""
    total = None
    if hasattr(os, "sysconf") and {"SC_PHYS_PAGES", "SC_PAGE_SIZE"} <= os.sysconf_names.keys():
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    cap = None
    for file in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        path = Path(file)
        if path.is_file() and (said := path.read_text().strip()).isdigit():
            cap = int(said)
            break
    if cap is not None and total is not None and cap >= total:
        cap = None  # no cap is written as a very large one
    return {"bytes": total, "cap_bytes": cap}


def as_text(found: dict[str, Any]) -> str:
    """The report for people."""
    from ckpt.choice import format_bytes

    version_ = found["ckpt"] or "not installed as a distribution: pip install -e . in its checkout"
    lines = [f"ckpt       {version_}", f"python     {found['python']} ({sys.executable})"]
    lines += [f"platform   {found['platform']}", "", "core"]
    lines += [_one(name, v) for name, v in found["core"].items()]
    for extra, parts in found["extras"].items():
        missing = [name for name, v in parts.items() if v is None]
        said = f"missing {', '.join(missing)}: pip install '{DISTRIBUTION}[{extra}]'"
        lines += ["", f"extra {extra}: {said if missing else 'complete'}"]
        lines += [_one(name, v) for name, v in parts.items() if v is not None]
    lines += ["", "commands from other packages"]
    lines += [f"  {name:<20} {state}" for name, state in found["commands"].items()] or ["  none"]
    kept, cpu, ram = found["cache"], found["processor"], found["memory"]
    can = "" if kept["writable"] else "; cannot be written to, so kernels compile every time"
    plans = f"plans      {kept['plans']} beside them, {format_bytes(kept['plan_bytes'])}"
    usable = f"{cpu['usable_cores']} of {cpu['cores']} cores usable"
    total = "unknown" if ram["bytes"] is None else format_bytes(ram["bytes"])
    capped = ram["cap_bytes"]
    cap = "" if capped is None else f", of which this process may use {format_bytes(capped)}"
    lines += [
        "",
        f"kernels    {kept['kernels']} in {kept['folder']}, {format_bytes(kept['bytes'])}{can}",
        plans,
        f"processor  {cpu['machine']} {cpu['target']}, {usable}",
        f"memory     {total}{cap}",
    ]
    return "\n".join(lines)


def _one(name: str, found: str | None) -> str:
    return f"  {name:<20} {found or 'MISSING: pip install ' + repr(name)}"
