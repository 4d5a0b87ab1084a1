"""Demonstrations of partial evaluation at small sizes, and the configurations of all."""

import numpy as np
import optree
import pytest

import ckpt
from experiments.demonstrations import (
    burgers,
    characters,
    deep_gpt,
    finite_elements,
    fourier,
    gaussian_process,
    neuron,
    prefix,
    spline,
)
from experiments.demonstrations.demonstration import FOLDER, DemonstrationError, configured
from experiments.models import transformer

KINDS = {
    "gaussian_process": gaussian_process.GaussianProcess,
    "prefix": prefix.Prefix,
    "finite_elements": finite_elements.FiniteElements,
    "fourier": fourier.Fourier,
    "spline": spline.Spline,
    "burgers": burgers.Burgers,
    "neuron": neuron.Neuron,
    "characters": characters.Characters,
    "deep_gpt": deep_gpt.DeepGpt,
}


@pytest.mark.parametrize("name", KINDS)
def test_every_configuration_is_read(name):
    configured(KINDS[name], FOLDER / f"{name}.yaml")


def test_what_is_wrong_with_a_configuration_is_said(tmp_path):
    file = tmp_path / "a.yaml"
    for text, said in (("size: many", "size"), ("sise: 3", "sise"), ("{", "not YAML")):
        file.write_text(text)
        with pytest.raises(DemonstrationError, match=said):
            configured(spline.Spline, file)
    with pytest.raises(DemonstrationError, match="No such file"):
        configured(spline.Spline, tmp_path / "none.yaml")


def test_a_gaussian_process_has_the_values_of_jax_and_its_ladder(tmp_path):
    pytest.importorskip("jax")
    config = gaussian_process.GaussianProcess(points=50, repeat=1, budgets=("1MB", "400B"))
    seconds, apart = gaussian_process.run(config)
    assert len(seconds) == 4
    assert max(apart.values()) <= 1e-10
    rows = gaussian_process.ladder(config, *gaussian_process.data(config))
    assert "cholesky" in rows[0][1]
    assert rows[1][1] == "triangular_solve 400 B"
    gaussian_process.draw(seconds, tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size


@pytest.mark.parametrize("kv_heads", [4, 1])
def test_a_prompt_becomes_the_keys_and_values_of_every_layer(kv_heads):
    sizes = prefix.Transformer(layers=2, width=32, kv_heads=kv_heads, prefix=96, suffix=4)
    config = prefix.Prefix(small=sizes, device=ckpt.Device.this(), repeat=1)
    here = prefix.measure(config)
    assert here.kept_bytes == here.cache_bytes == 2 * 2 * 96 * 8 * kv_heads * 4
    assert here.masks == 0


def test_the_blocks_of_our_models_leave_keys_and_values_too():
    """Queries, keys and values come from one product: of it, two slices cross."""
    n_known, n_new, width, n_layers = 64, 4, 32, 2
    random = np.random.default_rng(0)
    layer = transformer.block_parameters(width, 4 * width, 0.1, 0.1)
    layers = [optree.tree_map(lambda p: p.draw(random, "float32"), layer) for _ in range(n_layers)]
    table = random.normal(size=(50, width)).astype(np.float32)
    sees = np.tril(np.ones((n_known + n_new,) * 2, bool))

    def f(layers, table, known, new):
        x = table[np.concatenate([known, new])][None]
        for p in layers:
            x = transformer.block(p, x, 4, mask=sees, form="tanh")
        return x[0, n_known:] @ table.T

    known, new = random.integers(0, 50, n_known), random.integers(0, 50, n_new)
    staged = ckpt.partial_eval(
        f, ("layers", "table", "known"), like=(layers, table, known, new),
        at_hand=("layers", "table"), calls=100,
    )  # fmt: skip
    assert staged.residual_bytes == 2 * n_layers * n_known * width * 4
    found = staged.bind(layers, table, known)(new)
    np.testing.assert_allclose(found, f(layers, table, known, new), rtol=1e-4, atol=1e-4)


def test_the_link_decides_what_is_kept_of_a_prompt(tmp_path):
    told = configured(prefix.Prefix, FOLDER / "prefix.yaml")
    large = told.large.model_copy(update={"layers": 3})
    speeds = prefix.sweep(told.model_copy(update={"large": large}))
    kinds = ("hidden states", "keys and values")
    assert [speeds[0].kept[kind] for kind in kinds] == [0, 0]
    middle = next(s for s in speeds if s.bytes_per_second == 16e9)
    assert [middle.kept[kind] for kind in kinds] == [2, 0]
    assert [speeds[-1].kept[kind] for kind in kinds] == [0, 6]
    for speed in speeds:
        assert speed.seconds["best"] <= min(speed.seconds.values()) * (1 + 1e-9)
        assert speed.gap_percent < 1e-3
    prefix.draw(speeds, tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size


@pytest.mark.parametrize("order", [1, 3])
def test_forms_of_a_stiffness_operator_agree_and_budgets_hold(order, tmp_path):
    config = finite_elements.FiniteElements(unknowns=400, repeat=1)
    found = finite_elements.picks(config, order)
    assert next(p.budget_bytes for p in found) is None
    for pick in found:
        assert pick.budget_bytes is None or pick.kept_bytes <= pick.budget_bytes
        assert pick.picked in pick.seconds
    finite_elements.draw(found, tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size


def test_a_budget_climbs_the_ladder_of_a_fourier_transform(tmp_path):
    rungs = fourier.ladder(fourier.Fourier(modes=8, nodes=3000, repeat=1))
    assert [r.kept_bytes for r in rungs] == sorted((r.kept_bytes for r in rungs), reverse=True)
    assert rungs[0].kept_bytes > 8 * 49 * 3000  # a number or more for each point around a node
    assert rungs[1].kept_bytes == 8 * 14 * 3000  # one for each axis
    assert rungs[2].kept_bytes == 0
    fourier.draw(rungs, tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size


def test_a_spline_keeps_its_coefficients_and_has_the_values_of_scipy(tmp_path):
    config = spline.Spline(size=32, repeat=1)
    staged, _, apart = spline.run(config)
    assert [r.nbytes for r in staged.residuals] == [32 * 32 * 8]
    assert apart <= 1e-12
    spline.draw(config, tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size
