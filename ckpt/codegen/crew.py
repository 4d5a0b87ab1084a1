"""Calls inside a loop that several threads share: tiles of a call of a program that a driver runs.

A loop is one task of a step, and runs on one thread. Where a program that it runs has a call with
tiles, that thread offers them to all others that have nothing to do: it *opens a stage*, takes
tiles like everybody else, and goes on when all have been run. The *crew* is where this is written
down. There is one for a job, because at any time at most one driver runs that is not inside
another: drivers are never tiles.

    left      a bit for each tile of the open stage that nobody has taken
    tiles     where they are
    count     how many they are
    undone    how many have not been run
    members   how many threads may come
    driver    which of them runs the driver
    alone     until which tick of the clock no stage is opened

Who clears a bit of `left` has that tile, and until it is run no other stage opens: what the tile
reads stays. Every thread begins at its own share of the tiles, and so finds in its own cache what
it wrote in the stage before; what others have left it takes last.

On a machine that others use, a thread may lose its core in the middle of a tile, for as long as
many stages take. Where the wait for a tile was out of proportion to the work, the thread that runs
the driver then works alone for a while: bits do not depend on who runs what.
"""

from ckpt.codegen.kernels import ShareKernel
from ckpt.codegen.waiting import WAITING

LEFT, TILES, COUNT, MEMBERS, DRIVER, UNDONE, ALONE = 8, 9, 10, 11, 12, 16, 17
CREW_WORDS = 24
"""Two lines of the cache that are its own, wherever the words begin."""

MOST_TILES = 64
"""Of a stage."""

_LATE, _CAUTION = 2, 4
"""A wait is too long when it took so many times the work before it. Then so many times the wait is
spent alone."""

SERVE = f"""
declare i64 @llvm.cttz.i64(i64, i1)

define internal i1 @serve(ptr %crew, i64 %who) {{
entry:
  %left.at = getelementptr i64, ptr %crew, i64 {LEFT}
  %tiles.at = getelementptr i64, ptr %crew, i64 {TILES}
  %count.at = getelementptr i64, ptr %crew, i64 {COUNT}
  %members.at = getelementptr i64, ptr %crew, i64 {MEMBERS}
  %undone.at = getelementptr i64, ptr %crew, i64 {UNDONE}
  br label %look
look:
  %left = load atomic i64, ptr %left.at acquire, align 8
  %some = icmp ne i64 %left, 0
  br i1 %some, label %draw, label %none
draw:
  %count = load atomic i64, ptr %count.at monotonic, align 8
  %members = load atomic i64, ptr %members.at monotonic, align 8
  %shares = mul i64 %count, %who
  %first = udiv i64 %shares, %members
  %start = and i64 %first, 63
  %from = shl i64 -1, %start
  %own = and i64 %left, %from
  %has = icmp ne i64 %own, 0
  %among = select i1 %has, i64 %own, i64 %left
  %number = call i64 @llvm.cttz.i64(i64 %among, i1 true)
  %bit = shl i64 1, %number
  %fewer = xor i64 %left, %bit
  %drawn = cmpxchg ptr %left.at, i64 %left, i64 %fewer acq_rel acquire, align 8
  %mine = extractvalue {{ i64, i1 }} %drawn, 1
  br i1 %mine, label %run, label %look
run:
  %tiles = load ptr, ptr %tiles.at, align 8
  %tile = getelementptr [2 x i64], ptr %tiles, i64 %number
  %record.at = getelementptr i64, ptr %tile, i64 1
  %function = load ptr, ptr %tile, align 8
  %record = load ptr, ptr %record.at, align 8
  call void %function(ptr %record)
  %before = atomicrmw sub ptr %undone.at, i64 1 acq_rel, align 8
  ret i1 true
none:
  ret i1 false
}}
"""
"""`@serve(crew, who)`: run one tile of the open stage, if there is one left; whether there was."""


def share_ir(kernel: ShareKernel) -> str:
    """The kernel that opens a stage and returns when all of its tiles have been run."""
    return f"""{WAITING}{SERVE}
define void @{kernel.name}(ptr %record) {{
entry:
  %tiles.at = getelementptr i64, ptr %record, i64 1
  %count.at = getelementptr i64, ptr %record, i64 2
  %crew = load ptr, ptr %record, align 8
  %tiles = load ptr, ptr %tiles.at, align 8
  %count = load i64, ptr %count.at, align 8
  %left.at = getelementptr i64, ptr %crew, i64 {LEFT}
  %open.at = getelementptr i64, ptr %crew, i64 {TILES}
  %size.at = getelementptr i64, ptr %crew, i64 {COUNT}
  %driver.at = getelementptr i64, ptr %crew, i64 {DRIVER}
  %undone.at = getelementptr i64, ptr %crew, i64 {UNDONE}
  %alone.at = getelementptr i64, ptr %crew, i64 {ALONE}
  %alone = load i64, ptr %alone.at, align 8
  %began = call i64 @now()
  %lonely = icmp slt i64 %began, %alone
  br i1 %lonely, label %each, label %open
each:
  %i = phi i64 [ 0, %entry ], [ %following, %each ]
  %tile = getelementptr [2 x i64], ptr %tiles, i64 %i
  %record.at = getelementptr i64, ptr %tile, i64 1
  %function = load ptr, ptr %tile, align 8
  %own = load ptr, ptr %record.at, align 8
  call void %function(ptr %own)
  %following = add nsw i64 %i, 1
  %others = icmp slt i64 %following, %count
  br i1 %others, label %each, label %out
open:
  %who = load atomic i64, ptr %driver.at monotonic, align 8
  store ptr %tiles, ptr %open.at, align 8
  store atomic i64 %count, ptr %size.at monotonic, align 8
  store atomic i64 %count, ptr %undone.at monotonic, align 8
  %unused = sub i64 {MOST_TILES}, %count
  %all = lshr i64 -1, %unused
  store atomic i64 %all, ptr %left.at release, align 8
  br label %work
work:
  %ran = call i1 @serve(ptr %crew, i64 %who)
  br i1 %ran, label %work, label %wait
wait:
  %idle = call i64 @now()
  br label %look
look:
  %looks = phi i64 [ 0, %wait ], [ %more, %hold ]
  %undone = load atomic i64, ptr %undone.at acquire, align 8
  %over = icmp eq i64 %undone, 0
  br i1 %over, label %judge, label %hold
hold:
  call void @rest(i64 %looks)
  %more = add i64 %looks, 1
  br label %look
judge:
  %ended = call i64 @now()
  %worked = sub i64 %idle, %began
  %waited = sub i64 %ended, %idle
  %most = mul i64 %worked, {_LATE}
  %late = icmp sgt i64 %waited, %most
  br i1 %late, label %doubt, label %out
doubt:
  %pause = mul i64 %waited, {_CAUTION}
  %until = add i64 %ended, %pause
  store i64 %until, ptr %alone.at, align 8
  br label %out
out:
  ret void
}}
"""
