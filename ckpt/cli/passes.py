"""Passes by name, applied one after another to program text: what `opt` and golden tests run.

A pass takes the programs at hand and gives the next ones. There is one program at first; `unzip`
makes an early and a late half of it, `transpose` and `forget` work on what they apply to, `join`
makes one of two again.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from ckpt.ad.forward import jvp
from ckpt.ad.join import join
from ckpt.ad.transpose import transpose
from ckpt.ad.unzip import Choose, partial_eval, unzip
from ckpt.api.derive import gradient_of
from ckpt.choice import Choice
from ckpt.errors import CkptError
from ckpt.ir.check import check
from ckpt.ir.forget import forget
from ckpt.ir.inline import inline_calls
from ckpt.ir.program import Program
from ckpt.simplify import simplify
from ckpt.simplify.cse import cse
from ckpt.simplify.dce import dce
from ckpt.simplify.fold import fold
from ckpt.simplify.fuse import fuse
from ckpt.simplify.outputs import own_outputs
from ckpt.simplify.periodic import periodic
from ckpt.simplify.recognise import recognise
from ckpt.simplify.sink import sink

Programs = tuple[Program, ...]
"""The program at hand, or its early and its late half."""


class PassError(CkptError, ValueError):
    """A pass is unknown, has a wrong option, or does not apply to the programs at hand."""


@dataclass(frozen=True, slots=True)
class Request:
    """A pass as written: `unzip[recompute=2,5]`.

    Attributes:
        name: of the pass.
        options: what stands in the brackets: `save_all` has no numbers, `recompute=2,5` has two.
    """

    name: str
    options: Mapping[str, tuple[int, ...]]

    def __str__(self) -> str:
        shown = [k + ("=" + ",".join(map(str, v)) if v else "") for k, v in self.options.items()]
        return self.name + (f"[{', '.join(shown)}]" if shown else "")


_REQUEST = re.compile(r"\s*([a-z_]+)\s*(?:\[([^\]]*)\])?\s*(?:,|$)")
_OPTION = re.compile(r"\s*([a-z_]+)\s*(?:=\s*(\d+(?:\s*,\s*\d+)*))?\s*(?:,|$)")


def parse_passes(text: str) -> list[Request]:
    """Read a list of passes.

    Raises:
        PassError: it is not one; shows from where on.

    >>> [str(p) for p in parse_passes("jvp, unzip[recompute=2,5], transpose")]
    ['jvp', 'unzip[recompute=2,5]', 'transpose']
    """
    requests: list[Request] = []
    at = 0
    while at < len(text.rstrip()):
        found = _REQUEST.match(text, at)
        if found is None:
            raise PassError(f"not a list of passes from {text[at:]!r} on: write jvp, unzip[...]")
        options: dict[str, tuple[int, ...]] = {}
        inside, here = found.group(2) or "", 0
        while here < len(inside.rstrip()):
            option = _OPTION.match(inside, here)
            if option is None:
                raise PassError(f"not an option of {found.group(1)}: {inside[here:]!r}")
            numbers = option.group(2)
            options[option.group(1)] = tuple(map(int, numbers.split(","))) if numbers else ()
            here = option.end()
        requests.append(Request(found.group(1), MappingProxyType(options)))
        at = found.end()
    return requests


def apply_passes(program: Program, requests: list[Request]) -> Programs:
    """Run passes one after another, and check the programs before the first and after each.

    Raises:
        PassError: a pass is unknown or does not apply.
        CkptError: whatever a pass or the checker raises.
    """
    for request in requests:
        if request.name not in PASSES:
            known = ", ".join(PASSES)
            raise PassError(f"there is no pass {request.name!r}; there are {known}")
    programs: Programs = (check(program),)
    for request in requests:
        programs = tuple(map(check, PASSES[request.name](programs, request)))
    return programs


def _jvp(programs: Programs, request: Request) -> Programs:
    allowed(request, "wrt")
    program = one(programs, request)
    return (jvp(program, chosen(program, request, "wrt")),)


def _unzip(programs: Programs, request: Request) -> Programs:
    allowed(request, *_CHOICES)
    halves = unzip(one(programs, request), choose_of(request))
    return halves.early, halves.late


def _partial_eval(programs: Programs, request: Request) -> Programs:
    allowed(request, "unknown", *_CHOICES)
    program = one(programs, request)
    unknown = chosen(program, request, "unknown")
    if unknown is None:
        raise PassError("partial_eval needs the numbers of its late inputs: [unknown=1,2]")
    halves = partial_eval(program, unknown, choose_of(request))
    return halves.early, halves.late


def _transpose(programs: Programs, request: Request) -> Programs:
    allowed(request)
    return (*programs[:-1], transpose(programs[-1]))


def _join(programs: Programs, request: Request) -> Programs:
    allowed(request)
    if len(programs) != 2:
        raise PassError("join makes one program of two halves: unzip first")
    return (join(*programs),)


def _gradient(programs: Programs, request: Request) -> Programs:
    allowed(request, "wrt")
    program = one(programs, request)
    wrt = chosen(program, request, "wrt")
    floats = [v.type.has_tangent for v in program.ins]
    return (gradient_of(program, floats if wrt is None else wrt).program,)


def _each(run: Callable[[Program], Program]) -> "Pass":
    """A pass without options that is applied to every program at hand."""

    def on_each(programs: Programs, request: Request) -> Programs:
        allowed(request)
        return tuple(map(run, programs))

    return on_each


Pass = Callable[[Programs, Request], Programs]

PASSES: dict[str, Pass] = {
    "check": _each(check),
    "inline": _each(inline_calls),
    "jvp": _jvp,
    "unzip": _unzip,
    "partial_eval": _partial_eval,
    "transpose": _transpose,
    "join": _join,
    "gradient": _gradient,
    "forget": _each(forget),
    "dce": _each(dce),
    "cse": _each(cse),
    "fold": _each(fold),
    "simplify": _each(simplify),
    "sink": _each(sink),
    "own_outputs": _each(own_outputs),
    "periodic": _each(periodic),
    "recognise": _each(recognise),
    "fuse": _each(fuse),
}
"""Every pass, by the name that `--passes` takes."""


_CHOICES = ("save_all", "recompute_all", "recompute", "offload")


def choose_of(request: Request) -> Choose:
    """What the options of a request say about each let; without any, all are saved.

    Raises:
        PassError: more than one of the options that say it for all lets.
    """
    if len({"save_all", "recompute_all"} & request.options.keys()) == 2:
        raise PassError(f"{request.name}: save_all or recompute_all, not both")
    again, away = request.options.get("recompute", ()), request.options.get("offload", ())

    def choose(let: int) -> Choice:
        if let in away:
            return Choice.OFFLOAD
        recompute = "recompute_all" in request.options or let in again
        return Choice.RECOMPUTE if recompute else Choice.SAVE

    return choose


def allowed(request: Request, *names: str) -> None:
    """Refuse options that a pass does not have, and numbers where none belong.

    Raises:
        PassError: names the option.
    """
    for name, numbers in request.options.items():
        if name not in names:
            takes = f"takes {', '.join(names)}" if names else "takes no options"
            raise PassError(f"{request.name} has no option {name!r}; it {takes}")
        if bool(numbers) == name.endswith("_all"):
            wanted = "takes no numbers" if numbers else "needs numbers, as in recompute=2,5"
            raise PassError(f"{request.name}: {name} {wanted}")


def one(programs: Programs, request: Request) -> Program:
    """The only program at hand.

    Raises:
        PassError: there are two halves.
    """
    if len(programs) != 1:
        raise PassError(f"{request.name} takes one program, and there are two halves: join first")
    return programs[0]


def chosen(program: Program, request: Request, option: str) -> list[bool] | None:
    """Which inputs an option names by their numbers; None when it is not given.

    Raises:
        PassError: there is no such input.
    """
    numbers = request.options.get(option)
    if numbers is None:
        return None
    for n in numbers:
        if n >= len(program.ins):
            raise PassError(f"{request}: {program.name} has no input {n}, only {len(program.ins)}")
    return [i in numbers for i in range(len(program.ins))]
