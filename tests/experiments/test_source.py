"""The YAML reader knows the file and line of every key, and reads plain data only."""

import pytest

from experiments.source import ConfigError, Position, load


def written(folder, name, text):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_values_and_positions(tmp_path):
    path = written(tmp_path, "a.yaml", "one: 1\n\ntwo:\n  - x: 0.5\n  - y\n")
    document = load(path)
    assert document.value == {"one": 1, "two": [{"x": 0.5}, "y"]}
    assert document.positions["one",] == Position(path, 1)
    assert document.positions["two", 0, "x"] == Position(path, 4)
    assert document.positions["two", 1] == Position(path, 5)


def test_ref_stands_for_the_other_file_with_own_keys_in_place(tmp_path):
    other = written(tmp_path, "models/m.yaml", "width: 8\ndepth: 2\n")
    path = written(tmp_path, "a.yaml", "name: a\nmodel:\n  ref: models/m.yaml\n  depth: 3\n")
    document = load(path)
    assert document.value == {"name": "a", "model": {"width": 8, "depth": 3}}
    assert document.positions["model", "width"] == Position(other, 1)
    assert document.positions["model", "depth"] == Position(path, 4)


def test_an_unknown_path_has_the_position_of_what_encloses_it(tmp_path):
    path = written(tmp_path, "a.yaml", "model:\n  width: 8\n")
    at, known = load(path).position(("model", "some alternative", "width"))
    assert (at.line, known) == (2, ("model", "width"))


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("a: 1\nb: [1, 2\n", 3, "not YAML"),
        ("a: 1\nb: 2\na: 3\n", 3, "a: written twice, first in line 1"),
        ("a: 1\nb: !!python/object/apply:os.getcwd []\n", 2, "b: the tag"),
        ("a: !colour red\n", 1, "a: the tag !colour"),
        ("a: &x [1]\nb: *x\n", 2, "aliases"),
        ("a: 1\n2: b\n", 2, "a key must be text"),
        ("a: 1\nb: {ref: missing.yaml}\n", 2, "b.ref: there is no file"),
        ("a: 1\nb:\n  ref: 3\n", 3, "b.ref: must be the path"),
        ("b:\n  ref: a.yaml\n", 2, "refers to itself"),
        ("b: {ref: list.yaml}\n", 1, "does not hold a mapping"),
        ("a: \x00\n", 1, "not YAML"),
    ],
)
def test_errors_name_file_line_and_key(tmp_path, text, line, said):
    path = written(tmp_path, "a.yaml", text)
    written(tmp_path, "list.yaml", "- 1\n")
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}:{line}: ")
    assert said in str(caught.value)


def test_a_tag_runs_no_code(tmp_path):
    trace = tmp_path / "ran"
    path = written(tmp_path, "a.yaml", f"a: !!python/object/apply:os.mkdir ['{trace}']\n")
    with pytest.raises(ConfigError):
        load(path)
    assert not trace.exists()


def test_a_missing_file(tmp_path):
    with pytest.raises(ConfigError, match="there is no file"):
        load(tmp_path / "none.yaml")


def test_bytes_that_are_no_text(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_bytes(b"a: \xff\xfe\n")
    with pytest.raises(ConfigError, match="cannot be read"):
        load(path)
