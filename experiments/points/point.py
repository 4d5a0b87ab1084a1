"""What every point of an experiment has, whatever its kind."""

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from experiments.schema import Bytes
from experiments.validation import Strict
from policies.units import parse_seconds

Seconds = Annotated[float, BeforeValidator(parse_seconds)]
"""A duration in seconds, or text with a unit such as 90s or 2min."""

Result = dict[str, Any]
"""What a point found: names to numbers, words and lists of numbers."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a point is expected to take, before it runs.

    Attributes:
        seconds: wall time.
        bytes: of memory, the process itself included.
    """

    seconds: float
    bytes: int


PROCESS_BYTES = 300 << 20
"""What a process takes that has imported everything and computed nothing."""


class PointConfig(Strict):
    """The keys that points of all kinds have.

    Attributes:
        seed: of everything that is drawn.
        time_limit: a point that takes longer is stopped, and kept as a failure.
        memory_limit: bytes that it may take; more is an error of the point.
    """

    seed: int = Field(default=0, ge=0)
    time_limit: Seconds = Field(default=600.0, gt=0)
    memory_limit: Bytes = Field(default=4 << 30, gt=0)

    def estimate(self) -> Estimate:
        """What running it is expected to take."""
        raise NotImplementedError

    def estimate_key(self) -> str:
        """Points with the same key are expected to take the same."""
        return self.model_dump_json(exclude={"seed"})

    def run(self) -> Result:
        """Run it in this process."""
        raise NotImplementedError
