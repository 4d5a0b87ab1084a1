"""Programs that people split by hand, split by `ckpt.partial_eval`, against what they do today.

    python -m experiments.demonstrations.NAME [--config configs/demonstrations/NAME.yaml]
        [--picture NAME.png]

    gaussian_process   train early, predict late; against jax.jit, and a ladder of budgets
    prefix             a transformer whose prompt is known: when caches pay, by the speed of a link
    finite_elements    stiffness applied in conjugate gradients: how much of it to assemble
    fourier            a non-uniform Fourier transform with fixed nodes
    spline             resampling an image under many transforms

`demonstration` has what they share: configuration, and timing in turns.
"""
