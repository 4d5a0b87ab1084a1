"""Points checked against what their kind may say, and what they are expected to take."""

from collections.abc import Sequence

from pydantic import ValidationError

from experiments.points.point import Estimate, PointConfig
from experiments.points.registry import POINT
from experiments.source import ConfigError
from experiments.sweep.attempt import Task
from experiments.sweep.expand import Point
from experiments.validation import validated

_MOST_PROBLEMS = 20


def checked(points: Sequence[Point]) -> list[Task]:
    """The tasks of points.

    Raises:
        ConfigError: says everything that is wrong with any of them, each once.
    """
    tasks, problems = [], {}
    for point in points:
        try:
            config = _config(point)
        except ConfigError as error:
            problems |= dict.fromkeys(error.problems)
            continue
        tasks.append(Task(point, config.time_limit, config.memory_limit))
    if problems:
        raise ConfigError(*list(problems)[:_MOST_PROBLEMS])
    return tasks


def estimates(tasks: Sequence[Task]) -> list[Estimate]:
    """What each is expected to take; points that expect the same are asked once."""
    known: dict[str, Estimate] = {}
    found = []
    for task in tasks:
        config = _config(task.point)
        key = config.estimate_key()
        if key not in known:
            known[key] = config.estimate()
        found.append(known[key])
    return found


def _config(point: Point) -> PointConfig:
    try:
        return POINT.validate_python(point.config)
    except ValidationError:
        return validated(point.document, POINT)
