"""Hand-written numba kernels, one file each: what neither a loop nest nor a matrix product says.

The file of an op has its name and a function of the same name, which takes the arrays of operands,
then those of results, scratch if the op asks for it, then the op's parameters. It is compiled when
a plan first needs it, for the dtypes and numbers of axes at hand, and allocates nothing: scratch
comes from the arena. A result must not depend on what stood in it before.

Files without an op (`threefry`, `windows`, `axis`, ...) are shared by the others. What a kernel
imports from this package counts as its text: change either, and it is compiled anew.
"""
