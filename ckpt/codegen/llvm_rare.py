"""Loops over elements of which a few, rarely, need a call that no vector instruction makes.

A branch inside the loop would keep LLVM from using vectors, and what a vector loop has stored
cannot be done again, because a result may stand where an operand stood. So a chunk of elements is
looked at first; if none of it is rare, the loop that runs over it has no branch.
"""

from collections.abc import Callable, Sequence

from ckpt.codegen.llvm import LlvmScalars, Writer
from ckpt.codegen.machine import Value

CHUNK = 512
"""Elements looked at together: they are still in the first cache when they are worked on."""

Body = Callable[[LlvmScalars, str], Sequence[tuple[Value, str]]]
"""From a printer and the index to what is stored, and where."""


def element_loop(w: Writer, size: str, body: Body, *, rare: bool) -> None:
    """Write the loop over `size` elements, in any order.

    Args:
        w: where to.
        size: the number of elements.
        body: prints one element; it stores nothing itself.
        rare: whether it may use `Scalars.rare`.
    """
    if rare:
        _chunks(w, size, body)
    else:
        _plain(w, "0", size, body, None)


def _plain(w: Writer, begin: str, stop: str, body: Body, unlikely: list[Value] | None) -> None:
    with w.loop(stop, begin=begin, parallel=True) as loop:
        for value, place in body(LlvmScalars(w, unlikely=unlikely), loop.index):
            w.store(value, place)


def _chunks(w: Writer, size: str, body: Body) -> None:
    with w.loop(size, step=CHUNK) as chunk:
        end = w.let(f"add nsw i64 {chunk.index}, {CHUNK}")
        less = w.let(f"icmp slt i64 {end}, {size}")
        stop = w.let(f"select i1 {less}, i64 {end}, i64 {size}")
        with w.loop(stop, [("i1", "false")], begin=chunk.index, parallel=True) as look:
            masks: list[Value] = []
            body(LlvmScalars(w, unlikely=masks), look.index)
            some = look.carried[0]
            for mask in masks:
                some = w.let(f"or i1 {some}, {mask.text}")
            look.next = [some]
        label = w.fresh("chunk")
        w.do(f"br i1 {look.carried[0]}, label %slow.{label}, label %fast.{label}")
        for way, unlikely in (("slow", None), ("fast", list[Value]())):
            w.start(f"{way}.{label}")
            _plain(w, chunk.index, stop, body, unlikely)
            w.do(f"br label %done.{label}")
        w.start(f"done.{label}")
