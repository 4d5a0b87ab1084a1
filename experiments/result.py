"""What a job reports: the fields of `result.json`."""

import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from pydantic import BaseModel, ConfigDict

PACKAGES = ("ckpt-compiler", "numpy", "scipy", "numba", "llvmlite", "networkx", "ortools", "optree")


class Result(BaseModel):
    """The outcome of a job. Bytes are of one training step; times are in seconds.

    Attributes:
        name, question, config: what was asked, as the configuration says it.
        budget_bytes: what a step was allowed: a cap on all that is alive.
        save_all_peak_bytes: what a step needs when every value is kept.
        planned_peak_bytes: inputs + outputs + arena + reserve of the plan.
        measured_peak_bytes: the same, seen while a step ran.
        beyond_inputs_bytes: of the plan, what is needed on top of the inputs.
        arena_bytes, input_bytes, output_bytes: of the plan; with the reserve they are its peak.
        live_peak_bytes: of the plan, with no fragmentation.
        parameter_and_batch_bytes: parameters and one batch.
        smallest_feasible_bytes: the smallest budget for which a plan was found.
        smallest_feasible_lower_bound_bytes: no budget below this can be met: proved.
        predicted_overhead: time for recomputation as a fraction of saving everything, as planned.
        measured_overhead: the same, from medians of steps run in turns.
        step_seconds, save_all_step_seconds: those medians.
        gradient_budget_bytes, gradient_measured_peak_bytes: of the gradient alone, under the same
            budget fraction.
        gradient_identical_to_save_all: every gradient array has the same bits.
        step_identical_to_save_all: every result of a training step has the same bits.
        plan_status, policy: who made the plan, and what is known about its quality.
        first_loss, last_loss, losses: the training loss at every step.
        test_accuracy: fraction of the test split; None where there is none.
        phase_seconds: wall time of each phase of the job.
        seeds: of everything that is drawn.
        versions, machine: with what and on what it ran.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    question: str
    config: dict[str, Any]
    budget_bytes: int
    save_all_peak_bytes: int
    planned_peak_bytes: int
    measured_peak_bytes: int
    beyond_inputs_bytes: int
    arena_bytes: int
    input_bytes: int
    output_bytes: int
    live_peak_bytes: int
    parameter_and_batch_bytes: int
    smallest_feasible_bytes: int
    smallest_feasible_lower_bound_bytes: int
    predicted_overhead: float
    measured_overhead: float
    step_seconds: float
    save_all_step_seconds: float
    gradient_budget_bytes: int
    gradient_measured_peak_bytes: int
    gradient_identical_to_save_all: bool
    step_identical_to_save_all: bool
    plan_status: str
    policy: str
    first_loss: float
    last_loss: float
    losses: list[float]
    test_accuracy: float | None
    phase_seconds: dict[str, float]
    seeds: dict[str, int]
    versions: dict[str, str]
    machine: dict[str, str]


def versions() -> dict[str, str]:
    """Of Python and of the packages that results depend on."""
    found = {"python": sys.version.split()[0]}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed as a distribution"
    return found


def machine() -> dict[str, str]:
    """What kind of machine this is."""
    return {"system": platform.system(), "processor": platform.machine()}
