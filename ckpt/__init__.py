"""ckpt: give a function and a byte budget, get the gradient program that fits."""
