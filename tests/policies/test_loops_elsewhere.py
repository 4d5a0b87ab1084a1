"""Loops beyond this package: checkpoint_schedules, pictures, the command line."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.errors import InvalidDecision, InvalidProblem
from policies.loops import Binomial, Loop, Mixed, Online, TwoLevel, forward_steps, options, replay
from policies.loops.command import loop as command
from policies.loops.drawing import LONGEST_DRAWN, draw_options, draw_schedule, save
from policies.loops.given import actions_of, proved

theirs = pytest.importorskip("checkpoint_schedules")

from policies.adapters.checkpoint_schedules import from_actions, to_actions  # noqa: E402

RAM = theirs.StorageType.RAM
LENGTHS = st.integers(1, 40)
SCHEDULES = st.one_of(
    st.builds(Binomial, LENGTHS, st.integers(1, 6)),
    st.builds(Mixed, LENGTHS, st.integers(0, 12), st.integers(1, 2), st.integers(1, 4)),
    st.builds(
        TwoLevel,
        LENGTHS,
        st.integers(0, 3),
        st.integers(0, 3),
        st.sampled_from([0.5, 2.0]),
        st.sampled_from([0.5, 2.0]),
    ),
    st.builds(Online, LENGTHS, st.integers(1, 8)),
)


@given(SCHEDULES)
@settings(max_examples=100, deadline=None)
def test_there_and_back_does_the_same(schedule):
    length = schedule.length
    ours = replay(schedule, length)
    back = replay(from_actions(to_actions(schedule), length), length)
    for what in ("advances", "records", "slots", "kept_slots", "slow_slots", "writes", "reads"):
        assert getattr(back, what) == getattr(ours, what)


@given(SCHEDULES)
@settings(max_examples=50, deadline=None)
def test_actions_end_each_way_once(schedule):
    names = [type(action).__name__ for action in to_actions(schedule)]
    assert names.count("EndForward") == names.count("EndReverse") == 1
    assert names[-1] == "EndReverse"
    assert names.index("EndForward") < names.index("Reverse")


@pytest.mark.parametrize(
    "make",
    [
        lambda n: theirs.Revolve(n, 5),
        lambda n: theirs.MultistageCheckpointSchedule(n, 5, 0),
        lambda n: theirs.MultistageCheckpointSchedule(n, 2, 3),
        lambda n: theirs.MixedCheckpointSchedule(n, 5, storage=RAM),
        lambda n: theirs.HRevolve(n, 3, 4),
        lambda n: theirs.DiskRevolve(n, 3),
        lambda n: theirs.SingleMemoryStorageSchedule(),
        lambda n: theirs.SingleDiskStorageSchedule(),
        lambda n: theirs.TwoLevelCheckpointSchedule(7, binomial_snapshots=3),
    ],
)
def test_their_schedules_replay(make):
    length = 30
    done = replay(from_actions(make(length), length), length)
    assert done.records + done.fused == length
    assert (
        done.advances >= forward_steps(length, 1 + done.slots + done.slow_slots + length) - length
    )


def test_their_binomial_schedules_advance_as_ours():
    for length in (1, 2, 9, 33):
        for snapshots in (1, 2, 5):
            found = theirs.MultistageCheckpointSchedule(length, snapshots, 0)
            done = replay(from_actions(found, length), length)
            assert done.advances == Binomial(length, snapshots).advances


def test_actions_on_nothing_are_refused():
    broken = [
        theirs.Forward(0, 2, False, False, theirs.StorageType.NONE),
        theirs.Reverse(2, 1, True),
    ]
    with pytest.raises(InvalidDecision, match="no residuals of step 1"):
        list(from_actions(broken, 2))


def test_pictures(tmp_path):
    pytest.importorskip("matplotlib")
    for number, schedule in enumerate(
        (Binomial(40, 4), Mixed(40, 12, 1, 3), TwoLevel(40, 2, 2, 1.0, 1.0), Binomial(0, 1))
    ):
        figure = draw_schedule(schedule)
        path = tmp_path / f"{number}.png"
        save(figure, path)
        assert path.read_bytes().startswith(b"\x89PNG")
    lines = {
        c.get_label(): len(c.get_segments())
        for c in draw_schedule(Binomial(40, 4)).axes[0].collections
    }
    assert lines["reverse"] == 40
    save(draw_options(options(Loop(100, 8, 24, 1.0, 1.0, 2.0), most=5)), tmp_path / "options.svg")
    with pytest.raises(InvalidProblem, match="too long to be drawn"):
        draw_schedule(Binomial(LONGEST_DRAWN + 1, 5))
    with pytest.raises(InvalidProblem, match=r"ends in \.png"):
        save(draw_schedule(Binomial(3, 2)), tmp_path / "picture.jpeg")


def test_the_command_counts_and_draws(capsys, tmp_path):
    pytest.importorskip("matplotlib")
    out = tmp_path / "loop.png"
    assert command(steps=1000, slots=30, json=True, out=out) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["advances"] == found["fewest"] == found["replayed"]["advances"] == 2472
    assert out.exists()
    assert command(steps=1000, slots=30) == 0
    assert "2472" in capsys.readouterr().out
    assert command(steps=50, slots=4, slow=4, json=True) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["time_in_steps"] == found["least_time"]
    assert command(steps=1000, slots=30, unknown=True, actions=True) == 0
    assert "store" in capsys.readouterr().out


def test_the_command_lists_what_memory_buys(capsys):
    assert command(steps=100, carry="1MiB", residual="6MiB", json=True) == 0
    found = json.loads(capsys.readouterr().out)
    assert found[0]["memory_bytes"] == 0
    assert found[-1]["advances"] == 0
    assert command(steps=100, carry="1MiB", residual="6MiB") == 0
    assert "MiB" in capsys.readouterr().out
    assert command(steps=100, carry="1MiB", residual="6MiB", memory="20MiB", json=True) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["advances"] <= found["states_alone"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"steps": 10},
        {"steps": 10, "slots": 3, "carry": "1MiB"},
        {"steps": -1, "slots": 3},
        {"steps": 10, "slots": 0},
        {"steps": 10, "slots": 3, "slow": 2, "unknown": True},
        {"steps": 10, "carry": "1XB"},
        {"steps": 10, "carry": "1MiB", "working": "2MiB", "memory": "1MiB"},
    ],
)
def test_the_command_says_what_is_wrong(wrong, capsys):
    assert command(**wrong) == 2
    assert capsys.readouterr().err.startswith("error: ")


@pytest.mark.parametrize(
    "make",
    [
        lambda n: theirs.Revolve(n, 5),
        lambda n: theirs.MultistageCheckpointSchedule(n, 3, 0),
        lambda n: theirs.MixedCheckpointSchedule(n, 5, storage=RAM),
        lambda n: theirs.SingleMemoryStorageSchedule(),
    ],
)
def test_their_schedules_are_proved_for_a_length(make):
    rows = proved(make(20), 20)
    assert replay(actions_of(rows), 20).length == 20
    assert rows.dtype == "int32"


def test_their_schedules_for_another_length_are_refused():
    with pytest.raises(InvalidDecision):
        proved(theirs.MultistageCheckpointSchedule(20, 3, 0), 21)
    with pytest.raises(InvalidDecision):
        proved(theirs.MultistageCheckpointSchedule(20, 3, 0), 19)
