"""What NumPy lacks, for functions that are traced and for plain arrays alike.

    import numpy as np
    import ckpt.numpy as cnp

    def loss(params, images, labels):
        x = cnp.conv2d(images, params["w"], padding="SAME")
        logits = cnp.max_pool2d(np.maximum(x, 0), 2).mean((2, 3))
        return -np.mean(np.sum(cnp.log_softmax(logits) * cnp.one_hot(labels, 10), axis=1))

Each function gives the same values on real arrays (interpreted, for a look at a result) as inside
a traced function (compiled). Everything else is NumPy's own: `import numpy as np`.

    conv2d, max_pool2d, avg_pool2d              images
    relu, gelu, expit, erf, erfc                elementwise
    softmax, log_softmax, logsumexp, one_hot    classification
    solve_triangular, cho_solve                 linear systems
    update, scatter_add, asarray                functional writes
    stop_gradient                               derivatives
    random.key, split, fold_in, bits, uniform, normal, bernoulli, dropout
"""

from ckpt.numpy import random
from ckpt.numpy.activations import (
    erf,
    erfc,
    expit,
    gelu,
    log_softmax,
    logsumexp,
    one_hot,
    relu,
    softmax,
    stop_gradient,
)
from ckpt.numpy.images import avg_pool2d, conv2d, max_pool2d
from ckpt.numpy.triangular import cho_solve, solve_triangular
from ckpt.numpy.updates import asarray, scatter_add, update

__all__ = [
    "asarray",
    "avg_pool2d",
    "cho_solve",
    "conv2d",
    "erf",
    "erfc",
    "expit",
    "gelu",
    "log_softmax",
    "logsumexp",
    "max_pool2d",
    "one_hot",
    "random",
    "relu",
    "scatter_add",
    "softmax",
    "solve_triangular",
    "stop_gradient",
    "update",
]
