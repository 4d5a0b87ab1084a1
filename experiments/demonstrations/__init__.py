"""Programs that show what is to be had, each with a configuration, tables and a picture.

    python -m experiments.demonstrations.NAME [--config configs/demonstrations/NAME.yaml]
        [--picture NAME.png]

Split by `ckpt.partial_eval`, against what people do by hand:

    gaussian_process   train early, predict late; against jax.jit, and a ladder of budgets
    prefix             a transformer whose prompt is known: when caches pay, by the speed of a link
    finite_elements    stiffness applied in conjugate gradients: how much of it to assemble
    fourier            a non-uniform Fourier transform with fixed nodes
    spline             resampling an image under many transforms

Loops in a budget:

    burgers            the initial state of a flow, recovered from its final one
    neuron             an adaptive integrator, fitted to the recording of a cell
    characters         an LSTM over a thousand characters, trained in two budgets
    deep_gpt           a loop over the layers of a GPT, planned from shapes

`demonstration` has what they share: configuration, and timing in turns.
"""
