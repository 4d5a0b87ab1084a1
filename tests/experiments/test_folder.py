"""A run folder appears whole or not at all."""

import pytest

from experiments.folder import FolderError, check_free, free_name, whole_folder


def test_a_folder_appears_when_it_is_whole(tmp_path):
    path = tmp_path / "runs/one"
    with whole_folder(path) as half:
        (half / "a").write_text("a")
        assert not path.exists()
    assert (path / "a").read_text() == "a"
    assert [p.name for p in path.parent.iterdir()] == ["one"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError, ValueError])
def test_what_is_interrupted_leaves_nothing(tmp_path, error):
    path = tmp_path / "one"
    with pytest.raises(error), whole_folder(path) as half:
        (half / "a").write_text("half of a")
        raise error
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten(tmp_path):
    path = tmp_path / "one"
    path.mkdir()
    (path / "kept").write_text("kept")
    with pytest.raises(FolderError, match="exists already"), whole_folder(path):
        pass
    assert (path / "kept").read_text() == "kept"
    assert [p.name for p in tmp_path.iterdir()] == ["one"]


def test_an_empty_folder_may_be_filled(tmp_path):
    path = tmp_path / "one"
    path.mkdir()
    check_free(path)
    with whole_folder(path) as half:
        (half / "a").write_text("a")
    assert (path / "a").exists()


def test_the_next_free_name(tmp_path):
    path = tmp_path / "one"
    assert free_name(path) == path
    path.mkdir()
    (tmp_path / "one-2").mkdir()
    assert free_name(path) == tmp_path / "one-3"
