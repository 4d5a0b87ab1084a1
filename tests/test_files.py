"""Files appear whole or not at all."""

import os

import pytest

from ckpt.files import ready_for, write_text, write_with


def test_a_file_is_replaced_whole(tmp_path):
    file = tmp_path / "a.txt"
    write_text(file, "one")
    write_text(file, "two")
    assert file.read_text() == "two"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_an_interruption_leaves_what_was_there(tmp_path):
    file = tmp_path / "a.txt"
    write_text(file, "one")

    def interrupted(half):
        half.write_text("tw")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_with(file, interrupted)
    assert file.read_text() == "one"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_others_may_read_it_as_any_new_file(tmp_path):
    write_text(tmp_path / "a.txt", "one")
    (tmp_path / "b.txt").write_text("one")
    assert (tmp_path / "a.txt").stat().st_mode == (tmp_path / "b.txt").stat().st_mode


def test_refusals_come_early(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(FileNotFoundError):
        ready_for(tmp_path / "none" / "a.txt")
    with pytest.raises(NotADirectoryError):
        ready_for(tmp_path / "file" / "a.txt")
    with pytest.raises(IsADirectoryError):
        ready_for(tmp_path)
    ready_for(None, tmp_path / "a.txt")
