"""How a plan runs: kernels as data become machine code, called from a table.

    Eqn ──calls──► kernels and records ──tiles, table──► tasks of a plan ──job──► native, pool
                          │
                          └──build──► LLVM IR (llvm_*) or numba source (numba_source)
                                      ──compile──► machine code, kept on disk (cache)

A kernel is compiled once per structure (`kernels`): the scalar code, the number of axes after
merging (`axes`), dtypes, and which strides are one or none. Sizes, strides and addresses stand in
a record of 64-bit words that it is called with, so that the first run of a let and its
recomputation are the same machine code under every plan. What a scalar code means is said once,
in `scalar`, for both printers; elementary functions stand in `mathematics`. `library` holds the
hand-written kernels of single ops.

Large calls are cut into tiles by their shapes alone (`tiles`). The tasks of a step are taken by
ticket (`native`), by the caller and by the helpers of the one pool of threads (`pool`), so that
results have the same bits for any number of threads; BLAS runs each tile on one (`threads`). Inside
loops, whose programs `drivers` run, who has nothing to do takes tiles of the open call (`crew`).
`audit` watches a step in poisoned memory, `profile` times its lets, `stopwatch` lets by themselves,
`calibrate` the machine.

`Executable` owns the arena and is what users call. Nothing else is allocated during a step but
fresh results.
"""
