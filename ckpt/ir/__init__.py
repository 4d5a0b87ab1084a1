"""What a program is: typed A-normal form with linear types.

types      DType, Space, Type(shape, dtype, linear, space)
op         what a primitive is: one class that holds all its rules
program    Var, Lit, Eqn, Program, Halves
build      typed emission; sharing of linear values made explicit
check      bound once, well typed, every linear value consumed exactly once
text       print and parse
record     the same as data for JSON, nothing lost
interpret  the reference meaning, one let at a time
work       the paper's cost model
storage    which buffer a value stands in
kernel     what a let computes, as data
inline     one program's lets inside another
"""
