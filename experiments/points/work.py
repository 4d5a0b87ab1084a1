"""A point that measures the constants of the paper: what forward, unzip and transpose cost.

Source: Radul, Paszke, Frostig, Johnson, Maclaurin. You Only Linearize Once. POPL 2023.
"""

from statistics import mean
from typing import Literal

from pydantic import PositiveInt

from ckpt.ad.forward import jvp
from ckpt.ad.transpose import transpose
from ckpt.ad.unzip import unzip
from ckpt.ir.program import Program
from ckpt.ir.work import size, work, work_of
from experiments.points.point import PROCESS_BYTES, Estimate, PointConfig, Result
from experiments.programs import Vocabulary, random_program

_PROGRAM_SECONDS = 0.003
"""To derive a program of ten lets, roughly."""


class Work(PointConfig):
    """Derive random programs and count scalar operations.

    Attributes:
        programs: how many.
        lets: of each.
        vocabulary: "scalars" are the primitives of the paper, "arrays" ours.
    """

    kind: Literal["work"] = "work"
    programs: PositiveInt = 1000
    lets: PositiveInt = 10
    vocabulary: Vocabulary = "scalars"

    def estimate(self) -> Estimate:
        """Linear in lets."""
        seconds = 1 + self.programs * self.lets / 10 * _PROGRAM_SECONDS
        return Estimate(min(seconds, self.time_limit), PROCESS_BYTES)

    def run(self) -> Result:
        """Count.

        Returns:
            Ratios of work, their greatest and mean over all programs that work at all: forward to
            the function, unzip to forward (its clones apart, all saved), reverse in all to the
            function; and the most that transposition adds, where the paper's bound is zero.
        """
        forward, split, reverse, growth, added = [], [], [], [], []
        for number in range(self.programs):
            f = random_program(self.lets, self.seed * self.programs + number, self.vocabulary)
            if not work(f):
                continue
            both = jvp(f)
            halves = unzip(both)
            back = transpose(halves.late)
            forward.append((work(both) - _drops(both)) / work(f))
            split.append((work(halves.early) + work(halves.late)) / work(both))
            reverse.append((work(halves.early) + work(back)) / work(f))
            growth.append(size(both) / size(f))
            into = sum(v.type.size for v in halves.late.linear_ins)
            out = sum(v.type.size for v in halves.late.outs)
            added.append(work(back) + into - work(halves.late) - out)
        return {
            "programs_counted": len(forward),
            "forward_most": max(forward),
            "forward_mean": mean(forward),
            "unzip_most": max(split),
            "unzip_least": min(split),
            "transpose_adds_most": max(added),
            "reverse_most": max(reverse),
            "reverse_mean": mean(reverse),
            "forward_size_most": max(growth),
        }


def _drops(program: Program) -> float:
    """What discarding costs: in the paper's model it pre-pays for additions of transposition."""
    return sum(work_of(eqn) for eqn in program.eqns if eqn.op.name == "drop")
