"""Hand-written numba kernels, one file each."""
