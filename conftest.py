"""What needs a framework that is not installed is not collected; its tests say why they skip."""

from importlib.util import find_spec

NEEDS = {
    "torch": [
        "ckpt/torch/*",
        "experiments/bench/in_torch.py",
        "experiments/models/torch_nets.py",
        "experiments/torch_*.py",
    ],
    "equinox": ["experiments/jax_train.py"],
    "optax": ["experiments/jax_train.py"],
}

collect_ignore_glob = [
    pattern
    for module, patterns in NEEDS.items()
    if find_spec(module) is None
    for pattern in patterns
]
