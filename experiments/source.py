"""YAML files in which every key knows its file and line, so that an error can name them.

Only plain data is read: tags that would run code, aliases and duplicate keys are refused. A
mapping `{ref: other.yaml, key: value}` stands for the mapping in the other file, whose path is
relative to the file that refers to it, with these keys in place of its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import yaml

Key = str | int
KeyPath = tuple[Key, ...]


@dataclass(frozen=True, slots=True)
class Position:
    """Where a key stands. Lines count from 1."""

    file: Path
    line: int


@dataclass(frozen=True, slots=True)
class Document:
    """What a file says, and where it says it.

    Attributes:
        value: plain data: mappings, lists, text, numbers, booleans, None.
        positions: of every key and list item, by the path from the root; of the root by ().
    """

    value: Any
    positions: Mapping[KeyPath, Position]

    def position(self, path: KeyPath) -> tuple[Position, KeyPath]:
        """The place of a path, or of the nearest enclosing one that the file has.

        Elements of the path that the file does not have, such as the name of an alternative, are
        left out.
        """
        found: KeyPath = ()
        for key in path:
            if (*found, key) in self.positions:
                found = (*found, key)
        return self.positions[found], found

    def at(self, key: Key) -> "Document":
        """The part of the document below a key."""
        below = {path[1:]: at for path, at in self.positions.items() if path[:1] == (key,)}
        return Document(self.value[key], below)

    def with_at(self, path: KeyPath, below: "Document") -> "Document":
        """The document with other contents at a path of keys; mappings on the way are made.

        Raises:
            ConfigError: something on the way is no mapping.
        """
        value = outer = dict(self.value)
        positions = {p: at for p, at in self.positions.items() if p[: len(path)] != path}
        for depth, key in enumerate(path[:-1], 1):
            inner = outer.get(key, {})
            if not isinstance(inner, dict):
                what = f"{dotted(path[:depth])} is not a mapping"
                raise ConfigError((below.positions[()], dotted(path), what))
            positions.setdefault(path[:depth], below.positions[()])
            outer[key] = outer = dict(inner)
        outer[path[-1]] = below.value
        return Document(value, positions | {(*path, *p): at for p, at in below.positions.items()})

    def with_values(self, changes: Mapping[str, Any]) -> "Document":
        """The document with other values for some keys of its mapping."""
        places = {(key,): self.positions[()] for key in changes}
        return Document(self.value | dict(changes), places | dict(self.positions))


class ConfigError(ValueError):
    """A configuration cannot be used; the message names the file, the line and the key.

    Attributes:
        problems: each as (position, key, what is wrong with it).
    """

    def __init__(self, *problems: tuple[Position, str, str]) -> None:
        self.problems = problems
        super().__init__(
            "\n".join(
                f"{at.file}:{at.line}: {f'{key}: ' if key else ''}{what}"
                for at, key, what in problems
            )
        )


def dotted(path: KeyPath) -> str:
    """How a path of keys is written: ``training.optimizer.rate``."""
    return ".".join(map(str, path))


MOST_BYTES, MOST_FILES, MOST_NESTED = 4 << 20, 500, 50
"""A configuration is written by hand: what is larger is a mistake or an attack."""


def load(path: str | Path) -> Document:
    """Read a YAML file and the files that it refers to.

    Raises:
        ConfigError: a file is missing, unreadable, huge or not plain YAML, or refers to itself.
    """
    path = Path(path)
    return _load(path, (), Position(path, 1), "", [0])


def parse(text: str, where: Path) -> Document:
    """Read YAML that stands in no file, such as a value on the command line.

    Raises:
        ConfigError: it is not plain YAML.
    """
    return _Reader(where, (), [0]).read(text)


def _load(
    path: Path, within: tuple[Path, ...], asked: Position, key: str, count: list[int]
) -> Document:
    if path.resolve() in within:
        raise ConfigError((asked, key, f"{path} refers to itself"))
    count[0] += 1
    if count[0] > MOST_FILES:
        raise ConfigError((asked, key, f"more than {MOST_FILES} files are referred to"))
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ConfigError((asked, key, f"{path} is larger than {MOST_BYTES} bytes"))
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError((asked, key, f"there is no file {path}")) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError((asked, key, f"{path} cannot be read: {error}")) from None
    return _Reader(path, (*within, path.resolve()), count).read(text)


class _Reader:
    """Turns the nodes of one file into data, and notes where they stand."""

    def __init__(self, file: Path, within: tuple[Path, ...], count: list[int]) -> None:
        self.file = file
        self.within = within
        self.count = count  # of files read so far, shared by all readers of one load
        self.positions: dict[KeyPath, Position] = {}
        self.scalars = yaml.constructor.SafeConstructor()

    def read(self, text: str) -> Document:
        try:
            depth = 0
            for event in yaml.parse(text, yaml.SafeLoader):
                at = Position(self.file, event.start_mark.line + 1)
                if isinstance(event, yaml.AliasEvent):
                    self.fail(at, (), "aliases (*name) are not read; use ref:")
                depth += isinstance(event, yaml.CollectionStartEvent)
                depth -= isinstance(event, yaml.CollectionEndEvent)
                if depth > MOST_NESTED:
                    self.fail(at, (), "lists or mappings are nested too deeply")
            node = yaml.compose(text, yaml.SafeLoader)
            self.positions[()] = Position(self.file, 1)
            value = None if node is None else self.build(node, ())
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            at = Position(self.file, mark.line + 1 if mark else 1)
            raise ConfigError((at, "", f"not YAML: {error.problem or error.context}")) from None
        except yaml.YAMLError as error:
            raise ConfigError((Position(self.file, 1), "", f"not YAML: {error}")) from None
        return Document(value, self.positions)

    def build(self, node: yaml.Node, path: KeyPath) -> Any:
        if node.tag.rpartition(":")[0] != "tag:yaml.org,2002":
            at = Position(self.file, node.start_mark.line + 1)
            self.fail(at, path, f"the tag {node.tag} is not read: plain data only")
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            for i, item in enumerate(node.value):
                self.positions[*path, i] = Position(self.file, item.start_mark.line + 1)
            return [self.build(item, (*path, i)) for i, item in enumerate(node.value)]
        return self.scalars.construct_object(node)

    def mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, Any]:
        own: dict[str, Any] = {}
        places: dict[str, Position] = {}
        for key_node, value_node in node.value:
            at = Position(self.file, key_node.start_mark.line + 1)
            if not (isinstance(key_node, yaml.ScalarNode) and key_node.tag.endswith(":str")):
                self.fail(at, path, "a key must be text")
            key = key_node.value
            if key in own:
                self.fail(at, (*path, key), f"written twice, first in line {places[key].line}")
            places[key] = at
            if key != "ref":
                self.positions[*path, key] = at
            own[key] = self.build(value_node, (*path, key))
        return self.refer(own, places, path) if "ref" in own else own

    def refer(
        self, own: dict[str, Any], places: dict[str, Position], path: KeyPath
    ) -> dict[str, Any]:
        ref, at, key = own.pop("ref"), places["ref"], dotted((*path, "ref"))
        if not isinstance(ref, str):
            self.fail(at, (*path, "ref"), f"must be the path of a YAML file, not {ref!r}")
        other = _load(self.file.parent / ref, self.within, at, key, self.count)
        if not isinstance(other.value, dict):
            self.fail(at, (*path, "ref"), f"{ref} does not hold a mapping")
        for below, place in other.positions.items():
            if below and below[0] not in own:
                self.positions[*path, *below] = place
        return other.value | own

    def fail(self, at: Position, path: KeyPath, what: str) -> NoReturn:
        raise ConfigError((at, dotted(path), what))
