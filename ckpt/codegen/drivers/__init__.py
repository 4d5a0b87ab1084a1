"""Compiled drivers of ops that hold programs: each runs the tables of its programs.

A driver takes the address of its record: how many programs there are, their frames, the numbers
of its kernel (`ckpt.ir.kernel.Nested`), the addresses of operands and results, and that of its
scratch, which begins with the arena of the programs. Addresses and offsets are in bytes; words
have 64 bits.

    frame     a program's table: where its inputs and outputs stand now, and how it is run
    states    where the states of a loop stand
    binomial  after how many steps to keep the next state
    actions   those of a schedule, which the drivers called `by_actions` do one after another
    way_back  what drivers of reverse loops share
"""
