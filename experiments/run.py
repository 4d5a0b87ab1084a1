"""One job: train under a byte budget, measure what it takes, write a run folder."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import optree
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

import ckpt
from ckpt import Budget, Limits, Plan, Step
from ckpt.inspect.figure import can_draw
from experiments.data import SPLIT_SEED, Array
from experiments.folder import check_free, free_name, whole_folder
from experiments.measurement import Prepared, identical, side_by_side, smallest_feasible
from experiments.models.registry import MODELS
from experiments.plots import draw_loss, draw_memory
from experiments.result import Result, machine, versions
from experiments.schema import Job, load_job
from experiments.supply import Supply, supply_of
from experiments.training import late_loss, make_training_step
from policies.units import format_bytes, format_seconds

Tree = Any

_LOSSES_SAID = 10
"""How many of the losses are printed on lines of their own."""


class JobError(ValueError):
    """A job cannot be run as it is configured; the message says what to change."""


@dataclass(slots=True)
class News:
    """What is said while a job runs: lines that stay, and one that moves.

    Attributes:
        console: where to.
        seconds: wall time of each phase so far.
    """

    console: Console
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def phase(self, name: str, what: str, total: int | None = None) -> Iterator[Callable[..., Any]]:
        """Show a phase while it lasts, and note how long that was.

        Yields:
            A function to call with `completed=` and `said=` as there is news.
        """
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            *([MofNCompleteColumn()] if total else []),
            TextColumn("{task.fields[said]}"),
            TimeElapsedColumn(),
        )
        began = perf_counter()
        quiet = not self.console.is_terminal  # a line that moves is of no use in a file
        with Progress(*columns, console=self.console, transient=True, disable=quiet) as progress:
            task = progress.add_task(what, total=total, said="")
            yield lambda **news: progress.update(task, **news)
        self.seconds[name] = perf_counter() - began


def run_job(config: Path, out: Path | None = None, console: Console | None = None) -> int:
    """Run a job.

    Args:
        config: its YAML file.
        out: the run folder; by default runs/NAME, or the next free name.
        console: where to show progress and results; by default the terminal.

    Returns:
        0, or 1 when the test accuracy or the last losses are worse than the job asks for.

    Raises:
        ConfigError: names the file, line and key of everything that is wrong.
        BudgetError: no plan fits the budget.
        FolderError, DataError, DrawingError, JobError: said before anything takes time.
    """
    job = load_job(config)
    folder = free_name(Path("runs") / job.name) if out is None else out
    check_free(folder)
    can_draw()
    news = News(console or Console())
    with ckpt.progress(console=news.console):
        result, plan = _carry_out(job, news)
    with whole_folder(folder) as half:
        (half / "result.json").write_text(result.model_dump_json(indent=2) + "\n", encoding="utf-8")
        (half / "plan.json").write_text(plan.to_json() + "\n", encoding="utf-8")
        draw_memory(plan, job.name, half / "memory.png")
        draw_loss(result.losses, job.name, half / "loss.png")
    news.console.print(f"wrote {folder}: result.json, plan.json, memory.png, loss.png")
    wanted = job.training.accuracy
    if wanted is not None and (result.test_accuracy or 0.0) < wanted:
        news.console.print(f"[red]the test accuracy is below {wanted:.1%}, as the job asks for")
        return 1
    least = job.training.loss
    if least is not None and not late_loss(result.losses) <= least:
        news.console.print(f"[red]the loss is above {least}, as the job asks for")
        return 1
    return 0


@dataclass(frozen=True, slots=True)
class _Parts:
    """What a job's configuration stands for."""

    job: Job
    loss: Callable[..., Any]
    params: Tree
    state: Tree
    supply: Supply

    @property
    def batches(self) -> Iterator[tuple[Array, ...]]:
        """What is trained on."""
        return self.supply.batches

    def training(self, budget: Budget | None, policy: str) -> Step:
        """The whole training step under a budget."""
        step = make_training_step(self.loss, self.job.training.optimizer)
        return ckpt.compile(step, budget=budget, policy=policy, limits=_limits(self.job))

    def gradient(self, budget: Budget | None, policy: str) -> Step:
        """Loss and gradient alone under a budget."""
        return ckpt.value_and_grad(
            self.loss, budget=budget, policy=policy, limits=_limits(self.job)
        )


def _limits(job: Job) -> Limits | None:
    return None if job.work is None else Limits(work=job.work, seed=job.seed)


def _parts(job: Job) -> _Parts:
    model, config = MODELS[job.model.model], job.model
    params = model.init(config, job.seed)
    supply = supply_of(job.data, config, job.seed)
    if job.training.accuracy is not None and supply.accuracy is None:
        raise JobError(f"{job.data} data have no test split: leave training.accuracy out")
    state = job.training.optimizer.init(params)
    return _Parts(job, model.make_loss(config), params, state, supply)


def _carry_out(job: Job, news: News) -> tuple[Result, Plan]:
    console = news.console
    console.print(f"[bold]{job.name}[/]: {job.question}")
    parts = _parts(job)
    params, state = parts.params, parts.state
    batch = next(parts.batches)

    with news.phase("plan", "planning") as tell:
        tell(said="everything saved")
        all_saved = parts.training(None, "save_all")
        save_all_peak = all_saved.plan_for(params, state, *batch).peak_bytes
        tell(said="under the budget")
        step = parts.training(job.budget.budget(save_all_peak), job.policy)
        plan = step.plan_for(params, state, *batch)
        tell(said="the smallest feasible budget")
        floor = smallest_feasible(
            lambda b: parts.training(b, job.policy),
            (params, state, *batch),
            reserve=job.budget.reserve,
            probes=3,
        )
        least = min(floor.plan.peak_bytes, plan.peak_bytes)
    console.print(str(plan), markup=False, highlight=False, soft_wrap=True)
    cap = plan.budget_bytes if plan.budget_bytes is not None else plan.peak_bytes
    console.print(
        f"budget {format_bytes(cap)} = {cap / save_all_peak:.1%} of the save-all peak "
        f"{format_bytes(save_all_peak)}; smallest feasible {format_bytes(least)} "
        f"({least / save_all_peak:.1%}), below {format_bytes(floor.lower_bound_bytes)} impossible",
        highlight=False,
        soft_wrap=True,
    )

    with news.phase("compile", "compiling kernels"):
        prepared = Prepared.of(step, params, state, *batch)
        reference = Prepared.of(all_saved, params, state, *batch)

    losses = []
    steps = job.training.steps
    every = max(steps // _LOSSES_SAID, 1)
    with news.phase("train", "training", total=steps) as tell:
        trained, moments, dealt = params, state, batch
        for number in range(1, steps + 1):
            value, trained, moments = step(trained, moments, *dealt)
            losses.append(float(value))
            tell(completed=number, said=f"loss {losses[-1]:.4f}")
            if number % every == 0 or number == 1:
                console.print(f"step {number:>5}  loss {losses[-1]:.4f}", highlight=False)
            dealt = next(parts.batches)

    with news.phase("measure", "measuring"):
        peak = prepared.peak_bytes()
        seconds, save_all_seconds = side_by_side(prepared, reference, job.repeat)
        same_step = identical(prepared.results, reference.results)
        saved_gradient = Prepared.of(parts.gradient(None, "save_all"), params, *batch)
        allowed = job.budget.budget(saved_gradient.executable.plan.peak_bytes)
        gradient = Prepared.of(parts.gradient(allowed, job.policy), params, *batch)
        gradient.run()
        saved_gradient.run()
        same_gradient = identical(gradient.results, saved_gradient.results)
        gradient_plan = gradient.executable.plan

    accuracy = None
    if parts.supply.accuracy is not None:
        with news.phase("test", "testing"):
            accuracy = parts.supply.accuracy(trained)

    inputs = _nbytes(params) + _nbytes(batch)
    result = Result(
        name=job.name,
        question=job.question,
        config=job.model_dump(mode="json"),
        budget_bytes=cap,
        save_all_peak_bytes=save_all_peak,
        planned_peak_bytes=plan.peak_bytes,
        measured_peak_bytes=peak,
        beyond_inputs_bytes=plan.beyond_inputs_bytes,
        arena_bytes=plan.arena_bytes,
        input_bytes=plan.input_bytes,
        output_bytes=plan.output_bytes,
        live_peak_bytes=plan.live_peak_bytes,
        parameter_and_batch_bytes=inputs,
        smallest_feasible_bytes=least,
        smallest_feasible_lower_bound_bytes=floor.lower_bound_bytes,
        predicted_overhead=plan.overhead,
        measured_overhead=seconds / save_all_seconds - 1.0,
        step_seconds=seconds,
        save_all_step_seconds=save_all_seconds,
        gradient_budget_bytes=gradient_plan.budget_bytes or gradient_plan.peak_bytes,
        gradient_measured_peak_bytes=gradient.peak_bytes(),
        gradient_identical_to_save_all=same_gradient,
        step_identical_to_save_all=same_step,
        plan_status=plan.decision.status,
        policy=plan.decision.policy,
        first_loss=losses[0],
        last_loss=losses[-1],
        losses=losses,
        test_accuracy=accuracy,
        phase_seconds=news.seconds,
        seeds={"parameters": job.seed, "batches": job.seed, "test split": SPLIT_SEED},
        versions=versions(),
        machine=machine(),
    )
    _say(result, console)
    return result, plan


def _nbytes(tree: Tree) -> int:
    return sum(np.asarray(leaf).nbytes for leaf in optree.tree_leaves(tree))


def _say(result: Result, console: Console) -> None:
    yes = {True: "bit for bit the same", False: "NOT the same"}
    share = result.parameter_and_batch_bytes / result.save_all_peak_bytes
    lines = [
        f"loss      {result.first_loss:.4f} at the first step, {result.last_loss:.4f} at the last",
        (
            f"memory    measured {format_bytes(result.measured_peak_bytes)}, planned "
            f"{format_bytes(result.planned_peak_bytes)}, budget "
            f"{format_bytes(result.budget_bytes)}; parameters and batch are {share:.1%} of the "
            "save-all peak"
        ),
        (
            f"time      {format_seconds(result.step_seconds)} per step, "
            f"{format_seconds(result.save_all_step_seconds)} with everything saved: "
            f"{result.measured_overhead:+.1%}, predicted {result.predicted_overhead:+.1%}"
        ),
        f"gradient  {yes[result.gradient_identical_to_save_all]} as with everything saved",
    ]
    if result.test_accuracy is not None:
        lines.append(f"accuracy  {result.test_accuracy:.2%} on the test split")
    console.print("\n".join(lines), highlight=False, soft_wrap=True)
