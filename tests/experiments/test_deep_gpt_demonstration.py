"""A GPT over whose layers a loop goes."""

import numpy as np
import optree

import ckpt
from experiments.demonstrations.deep_gpt import DeepGpt, draw, frontier, make_loss, specs
from experiments.models import gpt

SMALL = gpt.Config(vocabulary=16, context=8, width=16, layers=6, heads=2, batch=8)
CONFIG = DeepGpt(network=SMALL, shares=(0.95, 0.01))


def test_the_loop_over_layers_has_the_gradient_of_the_layers_one_by_one():
    params, (tokens, targets) = gpt.MODEL.init(SMALL, 0), gpt.MODEL.batch(SMALL, 0)
    stacked = params | {"blocks": optree.tree_map(lambda *x: np.stack(x), *params["blocks"])}
    like = optree.tree_map(lambda x: (x.shape, x.dtype), (stacked, tokens, targets))
    told = optree.tree_map(lambda x: (x.shape, np.dtype(x.dtype)), specs(SMALL))
    assert optree.tree_leaves(like) == optree.tree_leaves(told)
    value, found = ckpt.value_and_grad(make_loss(SMALL))(stacked, tokens, targets)
    wanted_value, wanted = ckpt.value_and_grad(gpt.make_loss(SMALL))(params, tokens, targets)
    np.testing.assert_allclose(value, wanted_value, rtol=1e-6)
    wanted = wanted | {"blocks": optree.tree_map(lambda *x: np.stack(x), *wanted["blocks"])}
    for a, b in zip(optree.tree_leaves(found), optree.tree_leaves(wanted), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_less_memory_costs_time_and_impossible_budgets_end_the_frontier(tmp_path):
    points, _ = frontier(CONFIG)
    assert len(points) == 2
    much, little = points
    assert much.again == 0 <= little.again
    assert little.slots <= much.slots <= SMALL.layers
    assert little.peak_bytes <= little.budget_bytes < much.peak_bytes
    assert little.seconds > much.seconds
    draw(points, tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size
