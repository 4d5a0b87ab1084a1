"""Every kind of point by the name that configurations use."""

from typing import Annotated, Union

from pydantic import Field, TypeAdapter

from experiments.points.fit import Fit
from experiments.points.network import Network
from experiments.points.plan import Plan
from experiments.points.train import Train
from experiments.points.work import Work

KINDS = (Plan, Network, Fit, Train, Work)

AnyPoint = Annotated[
    Union[KINDS],  # noqa: UP007  # as many as there are
    Field(discriminator="kind"),
]
"""A point; its key `kind` says of which kind."""

POINT: TypeAdapter[AnyPoint] = TypeAdapter(AnyPoint)
