"""From what a file says to a pydantic model: every error names the file, the line and the key."""

import difflib
import typing
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from experiments.source import ConfigError, Document, KeyPath, dotted


class Strict(BaseModel):
    """A mapping with no other keys than these."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def validated(document: Document, adapter: TypeAdapter[Any]) -> Any:
    """The document as the adapter's type.

    Raises:
        ConfigError: names the file, line and key of everything that is wrong.
    """
    try:
        return adapter.validate_python(document.value)
    except ValidationError as error:
        problems = []
        for found in error.errors():
            path: KeyPath = found["loc"]
            at, known = document.position(path)
            what = found["msg"].removeprefix("Value error, ")
            if found["type"] == "extra_forbidden":
                what = f"unknown key{_nearest(adapter, path)}"
            elif found["type"] == "missing":
                what = f"the key {path[-1]!r} is missing"
            elif found["type"].startswith("union_tag"):
                what = what.replace("Input tag", "the alternative")
            elif not isinstance(found["input"], dict | list):
                what = f"{what} (it says {found['input']!r})"
            problems.append((at, dotted(known), what))
        raise ConfigError(*problems) from None


def _nearest(adapter: TypeAdapter[Any], path: KeyPath) -> str:
    """The keys that could have been meant."""
    places = [adapter._type]  # noqa: SLF001  # what it was made for; there is no public name
    for key in path[:-1]:
        below = [m.model_fields[key].annotation for m in _models(places) if key in m.model_fields]
        named = [m for m in _models(places) if _tag(m) == key]
        places = below or named or places
    keys = sorted({name for m in _models(places) for name in m.model_fields})
    near = difflib.get_close_matches(str(path[-1]), keys, 1)
    return f": did you mean {near[0]!r}?" if near else f"; known keys: {', '.join(keys)}"


def _models(annotations: list[Any]) -> Iterator[type[BaseModel]]:
    for annotation in annotations:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            yield annotation
        else:
            yield from _models(list(typing.get_args(annotation)))


def _tag(model: type[BaseModel]) -> Any:
    for name in ("model", "kind", "family", "name"):
        field = model.model_fields.get(name)
        if field is not None and isinstance(field.default, str):  # else it is something else
            return field.default
    return None
