"""Schedules: versions, their lives, and orders that are refused."""

import pytest

import ckpt.ops  # noqa: F401 (fills the registry)
from ckpt.errors import PlanError
from ckpt.ir.text import parse
from ckpt.plan.live import live_ranges, most_alive, takes_over
from ckpt.plan.schedule import Place, running, schedule

PROGRAM = """f(x: f64[4,2]) -> (f64[2,4], f64[4,2]) {
  a: f64[4,2] = exp x
  t: f64[2,4] = permute[axes=(1,0)] a
  b: f64[2,4] = sin t
  c: f64[4,2] = mul a x
  return b, c
}"""


def test_views_never_run_and_prolong_the_life_of_their_root():
    p = parse(PROGRAM)
    assert list(running(p)) == [0, 2, 3]
    s = schedule(p, [0, 2, 3])
    assert [step.let for step in s.steps] == [0, 2, 3]
    a = s.versions[s.steps[0].writes[0]]
    assert (a.place, a.start, a.last) == (Place.ARENA, 0, 2)
    assert s.steps[1].reads == (s.steps[0].writes[0],)  # through the view
    assert {s.versions[s.steps[i].writes[0]].place for i in (1, 2)} == {Place.OUTPUT}


def test_a_repeat_is_a_new_version_and_reads_take_the_newest():
    s = schedule(parse(PROGRAM), [0, 2, 0, 3])
    first, second = s.steps[0].writes[0], s.steps[2].writes[0]
    assert s.steps[1].reads == (first,)
    assert s.steps[3].reads[0] == second
    assert (s.versions[first].last, s.versions[second].start) == (1, 2)


@pytest.mark.parametrize(
    ("order", "what"),
    [
        ([2, 0, 3], "no earlier step made its operand"),
        ([0, 1, 2, 3], "is a view"),
        ([0, 2, 9], "no such let"),
        ([0, 2, -1], "no such let"),
        ([0, 2], "never makes the output"),
    ],
)
def test_orders_that_compute_nothing_sensible_are_refused(order, what):
    with pytest.raises(PlanError, match=what):
        schedule(parse(PROGRAM), order)


@pytest.mark.parametrize(
    "text",
    [
        "f(x: f64[2]) -> (f64[2]) { return x }",
        "f(x: f64[2]) -> (f64[2], f64[2]) { y = sin x  return y, y }",
        "f(x: f64[2,3]) -> (f64[3,2]) { a = sin x  y = permute[axes=(1,0)] a  return y }",
    ],
)
def test_programs_not_in_output_normal_form_are_refused(text):
    p = parse(text)
    with pytest.raises(PlanError, match="output normal form"):
        schedule(p, list(running(p)))


def _taken(text, order=None):
    p = parse(text)
    s = schedule(p, list(running(p)) if order is None else order)
    return [takes_over(s, i) for i in range(len(s.steps))], s


def test_a_dying_operand_is_overwritten_where_the_op_allows_it():
    taken, s = _taken(
        "f(x: f64[4]) -> (f64[4]) { a = exp x  b = sin a  c = mul b b  y = neg c  return y }"
    )
    # x is an input and y an output; a dies at b, b at c (both operands are the same buffer)
    assert taken == [None, s.steps[0].writes[0], s.steps[1].writes[0], None]
    ranges = live_ranges(s)
    assert [(r.start, r.stop, len(r.versions)) for r in ranges] == [(0, 4, 3)]
    assert most_alive(ranges, 4) == 32


def test_nothing_is_overwritten_that_is_read_later_or_in_another_layout():
    later, _ = _taken(
        "f(x: f64[4]) -> (f64[4]) { a = exp x  b = sin a  c = mul b a  y = neg c  return y }"
    )
    assert later[1] is None
    turned, s = _taken("""f(x: f64[3,3]) -> (f64[3,3]) {
      a = exp x
      t = permute[axes=(1,0)] a
      b = mul a t
      y = neg b
      return y
    }""")
    assert turned == [None, None, None]
    assert most_alive(live_ranges(s), 3) == 2 * 72
    part, _ = _taken("""f(x: f64[4]) -> (f64[2]) {
      a = exp x
      t = slice[start=(0,), stop=(2,), step=(1,)] a
      b = sin t
      y = neg b
      return y
    }""")
    assert part == [None, None, None]
    reduced, _ = _taken(
        "f(x: f64[4]) -> (f64[]) { a = exp x  b = sum[axes=(0,)] a  y = neg b  return y }"
    )
    assert reduced[1] is None


def test_an_output_that_runs_again_writes_the_same_buffer_again():
    p = parse("f(x: f64[4]) -> (f64[4], f64[4]) { y = exp x  z = sin y  return y, z }")
    s = schedule(p, [0, 0, 1])
    assert live_ranges(s) == []
    assert s.steps[2].reads == s.steps[1].writes
