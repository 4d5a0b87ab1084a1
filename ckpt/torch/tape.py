"""What one training step runs, in order: the form in which both routes meet the planner.

A tape is made of a joint graph (`joint`) or of what eager PyTorch was seen to run (`record`), and
becomes a problem for `policies` (`asking`). It knows tensors only as names with bytes.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

Half = Literal["forward", "given", "backward"]
"""Where a run stands: before the loss is known, as what the caller hands in, or after it."""


@dataclass(frozen=True, slots=True)
class Made:
    """A buffer that a run makes; views of it own nothing.

    Attributes:
        name: unique on the tape.
        nbytes: of its storage.
        stays: whether the caller keeps it to the end of the step.
        moves: whether a copy of its elements, as they are when it is made, can stand for it.
    """

    name: str
    nbytes: int
    stays: bool = False
    moves: bool = True


@dataclass(frozen=True, slots=True)
class Run:
    """One operation.

    Attributes:
        name: unique on the tape.
        op: what it runs, as in `aten.mm.default`.
        reads: names of the buffers that it reads, each once; inputs of the step are not named.
        makes: the buffers that it makes.
        workspace_bytes: what it needs besides while it runs.
        seconds: predicted.
        flops: of matrix products, convolutions and attention.
        half: where it first runs.
        once: why it must not run a second time; empty if it may.
        module: path of the module that it belongs to, as in `blocks.3.mlp`.
        line: file and number of the user's line.
    """

    name: str
    op: str
    reads: tuple[str, ...]
    makes: tuple[Made, ...]
    seconds: float
    flops: int = 0
    half: Half = "forward"
    once: str = ""
    workspace_bytes: int = 0
    module: str = ""
    line: str = ""


@dataclass(frozen=True)
class Tape:
    """The runs of a step in the order in which PyTorch would make them.

    Attributes:
        runs: forward, then what is given, then backward.
        input_bytes: parameters, buffers and arguments, alive throughout.
        result_bytes: small results that are counted as alive throughout too.
        notes: what a reader of the plan should know.
    """

    runs: tuple[Run, ...]
    input_bytes: int
    result_bytes: int = 0
    notes: tuple[str, ...] = ()
    by_name: dict[str, Run] = field(init=False, repr=False, compare=False)
    maker: dict[str, str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_name", {run.name: run for run in self.runs})
        object.__setattr__(
            self, "maker", {made.name: run.name for run in self.runs for made in run.makes}
        )

    def half(self, half: Half) -> Iterator[Run]:
        """The runs of one half."""
        return (run for run in self.runs if run.half == half)

    @property
    def held_bytes(self) -> int:
        """Bytes that are alive throughout."""
        return self.input_bytes + self.result_bytes

    @property
    def forward_flops(self) -> int:
        """Flops of the forward half."""
        return sum(run.flops for run in self.half("forward"))
