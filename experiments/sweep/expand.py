"""From the YAML file of an experiment to its points: axes, product, exclusions, overrides."""

import hashlib
import itertools
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from experiments.source import ConfigError, Document, KeyPath, Position, dotted, load, parse
from experiments.sweep.header import Header
from experiments.validation import validated

MISSING = "???"
"""A value that whoever runs the experiment must give, as in OmegaConf."""

COMMAND_LINE = Path("command line")
LIMITS = ("time_limit", "memory_limit")
"""Keys that say how long a point may try, not what it is: a point stays the same without them."""

_OWN = frozenset(Header.model_fields) - {"kind"}


@dataclass(frozen=True, slots=True)
class Axis:
    """One list under `sweep:`."""

    key: str
    values: tuple[Document, ...]

    @property
    def path(self) -> KeyPath:
        """Its key as a path."""
        return tuple(self.key.split("."))


@dataclass(frozen=True, slots=True)
class Point:
    """One point of an experiment.

    Attributes:
        document: what it is, with the file and line of every key.
        changes: the dotted keys that distinguish it from other points, and their values.
        id: of what it is, the same whenever and wherever it is made.
    """

    document: Document
    changes: dict[str, Any]
    id: str

    @property
    def config(self) -> dict[str, Any]:
        """What it is, as plain data."""
        return self.document.value

    @property
    def label(self) -> str:
        """How it is called in a list of points."""
        return " ".join(f"{key}={_short(value)}" for key, value in self.changes.items()) or "all"


@dataclass(frozen=True, slots=True)
class Experiment:
    """An experiment as its file and the command line say it.

    Attributes:
        header: question, references and so on.
        base: what all points share.
        axes: of the product.
        extra: further points, as changes of dotted keys.
    """

    header: Header
    base: Document
    axes: tuple[Axis, ...]
    extra: tuple[dict[str, Document], ...]

    @property
    def n_points(self) -> int:
        """How many points there are at most, counted without making them."""
        return (math.prod(len(a.values) for a in self.axes) if self._product else 0) + len(
            self.extra
        )

    @property
    def _product(self) -> bool:
        return bool(self.axes) or not self.extra

    def points(self) -> Iterator[Point]:
        """Every point once; the last axis moves fastest."""
        seen: set[str] = set()
        for changes in itertools.chain(self._products(), self.extra):
            document = self.base
            for key, value in changes.items():
                document = document.with_at(tuple(key.split(".")), value)
            identity = identity_of(document.value)
            if identity not in seen:
                seen.add(identity)
                yield Point(document, {k: _named(v) for k, v in changes.items()}, identity)

    def _products(self) -> Iterator[dict[str, Document]]:
        if not self._product:
            return
        for values in itertools.product(*(axis.values for axis in self.axes)):
            changes = {a.key: value for a, value in zip(self.axes, values, strict=True)}
            if not any(self._meets(changes, which) for which in self.header.exclude):
                yield changes

    def _meets(self, changes: dict[str, Document], which: dict[str, Any]) -> bool:
        def has(key: str) -> Any:
            return changes[key].value if key in changes else value_at(self.base.value, key)

        return all(
            matches(has(key), wanted) or (key in changes and matches(_named(changes[key]), wanted))
            for key, wanted in which.items()
        )


def identity_of(config: dict[str, Any]) -> str:
    """Sixteen digits that stand for what a point is; its limits do not count.

    >>> identity_of({"kind": "plan", "time_limit": "1s"}) == identity_of({"kind": "plan"})
    True
    """
    what = {key: value for key, value in config.items() if key not in LIMITS}
    return hashlib.sha256(canonical(what).encode()).hexdigest()[:16]


def canonical(data: Any) -> str:
    """One text for the same data."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"), default=str)


def value_at(config: Any, key: str) -> Any:
    """The value at a dotted key, or None where there is none.

    >>> value_at({"budget": {"fraction": 0.5}}, "budget.fraction")
    0.5
    """
    for part in key.split("."):
        if not isinstance(config, dict):
            return None
        config = config.get(part)
    return config


def matches(value: Any, wanted: Any) -> bool:
    """Whether a value is the wanted one, or one of a list of them; numbers may be text."""
    if isinstance(wanted, list) and not isinstance(value, list):
        return any(matches(value, one) for one in wanted)
    return value == wanted or str(value) == str(wanted)


def load_experiment(path: Path, overrides: Sequence[str] = ()) -> Experiment:
    """Read an experiment, with changes from the command line.

    Args:
        path: of the YAML file.
        overrides: `key=value` with dotted keys and YAML values. For an axis a list replaces its
            values and anything else fixes it; `sweep.KEY=[...]` makes an axis.

    Raises:
        ConfigError: names the file, line and key of everything that is wrong.
    """
    document = load(path)
    if not isinstance(document.value, dict):
        raise ConfigError((Position(path, 1), "", "an experiment is a mapping of keys"))
    for number, text in enumerate(overrides, 1):
        document = _overridden(document, text, number)
    own = {key: value for key, value in document.value.items() if key in {*_OWN, "kind"}}
    header: Header = validated(Document(own, document.positions), TypeAdapter(Header))
    base = Document(
        {key: value for key, value in document.value.items() if key not in _OWN},
        {p: at for p, at in document.positions.items() if not p or p[0] not in _OWN},
    )
    swept = document.at("sweep") if "sweep" in document.value else None
    extra = document.at("points") if "points" in document.value else None
    experiment = Experiment(
        header,
        base,
        tuple(_axes(swept, ())) if swept is not None else (),
        tuple(
            {key: _at(extra, (i, key)) for key in change}
            for i, change in enumerate(header.points)
            if extra is not None
        ),
    )
    _nothing_missing(experiment)
    return experiment


def _overridden(document: Document, text: str, number: int) -> Document:
    at = Position(COMMAND_LINE, number)
    key, equals, value = text.partition("=")
    if not (equals and key and all(key.split("."))):
        raise ConfigError((at, text, "must be key=value, such as seed=1 or budget.fraction=[0.3]"))
    given = parse(value, COMMAND_LINE)
    new = Document(given.value, dict.fromkeys(given.positions, at))
    path: KeyPath = tuple(key.split("."))
    if path[0] != "sweep" and isinstance(document.value.get("sweep"), dict):
        axes = {axis.key: axis for axis in _axes(document.at("sweep"), ())}
        if key in axes and isinstance(given.value, list):
            return _without_axis(document, key).with_at(("sweep", key), new)
        document = _without_axis(document, key)
    return document.with_at(path, new)


def _without_axis(document: Document, key: str) -> Document:
    """The document without an axis, however its key is spread over mappings."""

    def pruned(mapping: Any, before: str) -> Any:
        if not isinstance(mapping, dict):
            return mapping
        kept = {k: pruned(v, f"{before}{k}.") for k, v in mapping.items() if before + k != key}
        return {k: v for k, v in kept.items() if v != {}}

    sweep = pruned(document.value["sweep"], "")
    return Document(document.value | {"sweep": sweep}, document.positions)


def _axes(swept: Document, path: KeyPath) -> Iterator[Axis]:
    """Every list in the mapping, at any depth."""
    value = swept.value
    for part in path:
        value = value[part]
    if isinstance(value, list):
        if not value:
            at, _ = swept.position(path)
            raise ConfigError((at, f"sweep.{dotted(path)}", "this axis has no values"))
        yield Axis(dotted(path), tuple(_at(swept, (*path, i)) for i in range(len(value))))
    elif isinstance(value, dict):
        for key in value:
            yield from _axes(swept, (*path, key))
    else:
        at, _ = swept.position(path)
        what = f"an axis is a list of values; put {value!r} outside of sweep:"
        raise ConfigError((at, f"sweep.{dotted(path)}", what))


def _at(document: Document, path: KeyPath) -> Document:
    for key in path:
        document = document.at(key)
    return document


def _nothing_missing(experiment: Experiment) -> None:
    """Refuse values that were to be given and are not."""

    def missing(value: Any, path: KeyPath) -> Iterator[KeyPath]:
        if value == MISSING:
            yield path
        elif isinstance(value, dict):
            for key, below in value.items():
                yield from missing(below, (*path, key))

    swept = {axis.path for axis in experiment.axes}
    for path in missing(experiment.base.value, ()):
        if path not in swept:
            at, _ = experiment.base.position(path)
            key = dotted(path)
            raise ConfigError((at, key, f"must be given: add {key}=VALUE to the command"))


def _named(value: Document) -> Any:
    """The value, or the name of the file that all of it comes from."""
    here = value.positions[()].file
    files = {at.file for path, at in value.positions.items() if len(path) == 1}
    if isinstance(value.value, dict) and len(files) == 1 and here not in files:
        return files.pop().stem
    return value.value


def _short(value: Any) -> str:
    if isinstance(value, dict):
        inner = " ".join(f"{key}:{_short(below)}" for key, below in value.items())
        return inner if len(inner) <= 60 else inner[:57] + "..."
    return str(value)
