"""What the YAML file of an experiment says beside its points: the question, axes, references.

Importing this is quick on purpose: a sweep that is finished is told so before anything heavy loads.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, NonNegativeInt, model_validator

from experiments.validation import Strict


def _listed(given: Any) -> Any:
    """One name is short for a list of one."""
    return [given] if isinstance(given, str) else given


Names = Annotated[list[str], BeforeValidator(_listed)]


class Reference(Strict):
    """A number to compare with.

    Attributes:
        at: dotted keys of the points that it belongs to, and their values.
        value: the number, or "infeasible" where it was proved that there is no plan.
        note: what else is known about it, such as how long it took on which machine.
    """

    at: dict[str, Any]
    value: float | Literal["infeasible"]
    note: str = ""


class References(Strict):
    """Numbers of one source for one metric; the report compares and says who is better.

    Attributes:
        name: of the column in the report.
        source: author, title, year, and where in it.
        metric: of our results.
        of: only points with these values are compared.
        better: which direction is better; "equal" for exact values.
        decimals: of the published numbers: a difference that they do not show is none.
        tolerance: a larger difference that counts as equal, as a fraction of the number.
        values: the numbers; or
        against: the keys in which another point of this sweep differs, whose result is the number.
        why: what is known where we are worse.
    """

    name: str
    source: str
    metric: str
    of: dict[str, Any] = Field(default={})
    better: Literal["lower", "higher", "equal"] = "lower"
    decimals: NonNegativeInt | None = None
    tolerance: float = Field(default=1e-9, ge=0)
    values: list[Reference] = Field(default=[])
    against: dict[str, Any] | None = None
    why: str = ""

    @model_validator(mode="after")
    def _one(self) -> Self:
        if bool(self.values) == (self.against is not None):
            raise ValueError("give either values or against")
        return self


class Plot(Strict):
    """A picture in the report.

    Attributes:
        kind: "line" draws a metric over an axis; "memory" bytes over time, "anytime" plan and
            bound while the solver works, and "schedule" what runs when, of single points that
            recorded them; "loss" training curves; "measured" predicted against measured values.
        title: above the picture.
        x, y: dotted key or metric on each axis.
        series: what distinguishes the lines; panel: what distinguishes the pictures.
        bound: a metric that bounds y from below, drawn dotted.
        log: which axes are logarithmic.
        at: only points with these values; a list of values stands for any of them.
    """

    kind: Literal["line", "memory", "anytime", "schedule", "loss", "measured"] = "line"
    title: str
    x: str = ""
    y: str = ""
    series: Names = Field(default=[])
    panel: str = ""
    bound: str = ""
    log: Annotated[list[Literal["x", "y"]], BeforeValidator(_listed)] = Field(default=[])
    at: dict[str, Any] = Field(default={})

    @model_validator(mode="after")
    def _axes(self) -> Self:
        if self.kind in {"line", "measured"} and not (self.x and self.y):
            raise ValueError(f"a plot of kind {self.kind} needs x and y")
        return self


class Report(Strict):
    """What `ckpt report` shows.

    Attributes:
        columns: metrics of the table; by default all numbers and words of the results.
        plots: the pictures.
    """

    columns: list[str] = Field(default=[])
    plots: list[Plot] = Field(default=[])


class Header(Strict):
    """An experiment, but for what its points say.

    Attributes:
        name: of the run folder, unless one is given.
        question: what the experiment asks.
        kind: what a point is; see `experiments.points`.
        sweep: every list in it is an axis, named by its dotted key; points are their product.
        exclude: points to leave out: dotted keys with a value, or with a list of values.
        points: further points, each a change of dotted keys, beside the product.
        references: numbers to compare with.
        report: what to show.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    question: str = Field(min_length=1)
    kind: str
    sweep: dict[str, Any] = Field(default={})
    exclude: list[dict[str, Any]] = Field(default=[])
    points: list[dict[str, Any]] = Field(default=[])
    references: list[References] = Field(default=[])
    report: Report = Report()
