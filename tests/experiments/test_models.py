"""Every model: its gradient against finite differences and against jax, its shapes, its dtypes."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optree
import pytest
from jax import lax

import ckpt
from experiments.models import (
    bottleneck,
    burgers,
    cross_entropy,
    fcn8,
    gpt,
    heat,
    lstm,
    mlp,
    mobilenet,
    resnet,
    segnet,
    transformer,
    unet,
    vgg,
    vit,
)
from experiments.models.registry import MODELS

TINY = {
    "bottleneck": bottleneck.Config(size=8, stem=2, widths=[1, 2], blocks=[1, 1], classes=3),
    "fcn8": fcn8.Config(channels=1, widths=[2, 3, 2], hidden=[3]),
    "gpt": gpt.Config(vocabulary=7, context=4, width=4, layers=1, heads=2, batch=2),
    "gpt-untied-erf": gpt.Config(
        vocabulary=7, context=4, width=4, layers=1, heads=1, batch=2, tied_head=False, gelu="erf"
    ),
    "gpt-dropout": gpt.Config(
        vocabulary=7, context=4, width=4, layers=1, heads=1, batch=2, dropout=0.25
    ),
    "heat": heat.Config(size=5, steps=2, batch=2),
    "heat-fixed": heat.Config(size=5, steps=2, batch=1, boundary="fixed"),
    "lstm": lstm.Config(features=3, hidden=4, steps=3, classes=3, batch=2),
    "lstm-unrolled": lstm.Config(features=3, hidden=4, steps=3, classes=3, batch=2, loop=False),
    "burgers": burgers.Config(size=5, steps=3),
    "mlp": mlp.Config(features=5, hidden=[4, 3], classes=3, batch=4),
    "mlp-relu": mlp.Config(features=5, hidden=[4], classes=3, batch=4, activation="relu"),
    "resnet": resnet.Config(size=4, channels=2, widths=[2, 3], blocks=1, classes=3, batch=2),
    "mobilenet": mobilenet.Config(size=4, channels=2, widths=[2, 3], strides=[2], classes=3),
    "segnet": segnet.Config(size=4, channels=1, convolutions=[1, 1], widths=[2, 3]),
    "unet": unet.Config(size=4, channels=1, width=2, depth=1, classes=2, batch=2),
    "vgg": vgg.Config(size=4, channels=1, widths=[2, 3], hidden=[4], classes=3),
    "vit": vit.Config(width=4, hidden=6, layers=1, heads=2, classes=3, batch=2),
}
"""One of every kind of let that a model can have."""


@pytest.fixture(scope="module", params=TINY.items(), ids=TINY)
def tiny(request):
    """A model, its configuration in f64, arguments for its loss, and loss and gradient there."""
    _, config = request.param
    config = config.model_copy(update={"dtype": "float64"})
    model = MODELS[config.model]
    args = (model.init(config, 1), *model.batch(config, 2))
    return model, config, args, ckpt.value_and_grad(model.make_loss(config))(*args)


def jax_numpy():
    """What stands for `ckpt.numpy` in jax."""

    def conv2d(x, w, *, stride=1, padding=0, groups=1):
        pads = [(padding, padding)] * 2
        return lax.conv_general_dilated(x, w, (stride, stride), pads, feature_group_count=groups)

    def max_pool2d(x, window, *, stride=None, padding=0):
        shape, steps = (1, 1, window, window), (1, 1, *[stride or window] * 2)
        pads = [(0, 0)] * 2 + [(padding, padding)] * 2
        return lax.reduce_window(x, -jnp.inf, lax.max, shape, steps, pads)

    return SimpleNamespace(
        conv2d=conv2d,
        max_pool2d=max_pool2d,
        erf=jax.scipy.special.erf,
        softmax=jax.nn.softmax,
        log_softmax=jax.nn.log_softmax,
    )


MODULES = (
    bottleneck, burgers, cross_entropy, fcn8, gpt, heat, lstm, mlp, mobilenet, resnet, segnet,
    transformer, unet, vgg, vit,
)  # fmt: skip


@pytest.fixture
def in_jax(monkeypatch):
    """The models' files with jax.numpy in place of NumPy, and double precision."""
    twin = jax_numpy()
    loops = SimpleNamespace(scan=lax.scan)
    for module in MODULES:
        monkeypatch.setattr(module, "np", jnp)
        if hasattr(module, "cnp"):  # those that take all they need from elsewhere have none
            monkeypatch.setattr(module, "cnp", twin)
        if hasattr(module, "ckpt"):
            monkeypatch.setattr(module, "ckpt", loops)
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", before)


def test_gradient_against_finite_differences(tiny):
    model, config, args, (value, grads) = tiny
    loss = model.make_loss(config)
    assert np.allclose(value, loss(*args), rtol=1e-12)
    random = np.random.default_rng(3)
    for _ in range(3):
        way = optree.tree_map(lambda p: random.normal(size=p.shape), args[0])
        slope = sum(
            float(np.sum(g * w))
            for g, w in zip(optree.tree_leaves(grads), optree.tree_leaves(way), strict=True)
        )
        # a loss bends on the scale of its embeddings, 0.02: central differences then err by
        # about (h / 0.02)**2, and by rounding over h; both are below 1e-8 here
        h = 1e-6
        ahead, behind = (
            loss(optree.tree_map(lambda p, w, s=s: p + s * h * w, args[0], way), *args[1:])
            for s in (1, -1)
        )
        assert np.isclose(slope, (ahead - behind) / (2 * h), rtol=1e-6, atol=1e-9)


@pytest.mark.usefixtures("in_jax")
def test_gradient_against_jax(tiny):
    model, config, args, (value, grads) = tiny
    if getattr(config, "dropout", 0):
        pytest.skip("the masks come from random numbers that jax does not have")
    theirs, their_grads = jax.value_and_grad(model.make_loss(config))(*args)
    # both are in double precision and differ by the order of sums alone
    assert np.allclose(value, theirs, rtol=1e-12)
    assert optree.tree_structure(grads) == optree.tree_structure(args[0])
    scale = max(np.abs(g).max() for g in jax.tree.leaves(their_grads))
    for ours, theirs in zip(optree.tree_leaves(grads), jax.tree.leaves(their_grads), strict=True):
        assert np.allclose(ours, theirs, rtol=1e-10, atol=1e-12 * scale)


def test_specs_are_those_of_the_arrays(tiny):
    model, config, args, _ = tiny
    specs = model.specs(config)
    shapes = optree.tree_map(lambda s: (s.shape, np.dtype(s.dtype)), specs)
    assert optree.tree_map(lambda a: (a.shape, a.dtype), args) == shapes


def test_same_seed_same_arrays(tiny):
    model, config, args, _ = tiny
    again = (model.init(config, 1), *model.batch(config, 2))
    other = (model.init(config, 2), *model.batch(config, 3))
    same = optree.tree_map(np.array_equal, args, again)
    assert all(optree.tree_leaves(same))
    assert not all(optree.tree_leaves(optree.tree_map(np.array_equal, args, other)))


@pytest.mark.parametrize("name", MODELS)
def test_the_loss_stays_in_single_precision(name):
    model = MODELS[name]
    traced = ckpt.trace(model.make_loss(model.config()), model.specs(model.config()))
    assert {v.type.dtype.numpy for v in traced.program.outs} == {np.dtype(np.float32)}
    wide = [
        str(eqn.source)
        for eqn in traced.program.eqns
        if any(v.type.dtype.numpy == np.float64 and v.type.shape for v in eqn.outs)
    ]
    assert wide == []


@pytest.mark.parametrize("name", MODELS)
def test_the_convention_of_the_command_line(name):
    module = __import__(f"experiments.models.{name}", fromlist=["loss"])
    traced = ckpt.trace(module.loss, module.example_inputs())
    assert traced.program.outs[0].type.shape == ()


@pytest.mark.parametrize("name", ["mlp", "resnet", "vit"])
def test_the_loss_is_the_cross_entropy_of_the_logits(name):
    config = TINY[name]
    model = MODELS[name]
    params, (images, labels) = model.init(config, 0), model.batch(config, 0)
    logits = np.asarray(model.make_logits(config)(params, images), np.float64)
    log_sums = np.log(np.exp(logits).sum(-1))
    expected = np.mean(log_sums - logits[np.arange(len(labels)), labels])
    assert np.isclose(model.make_loss(config)(params, images, labels), expected, rtol=1e-5)


def test_the_causal_mask_hides_the_future():
    config = TINY["gpt"]
    p = MODELS["gpt"].init(config, 0)["blocks"][0]
    x = np.random.default_rng(0).normal(size=(1, 4, 4))
    changed = x.copy()
    changed[:, 2] += 1.0
    mask = np.tril(np.ones((4, 4), bool))
    seen, other = (transformer.attention(p, given, 2, mask) for given in (x, changed))
    assert np.array_equal(seen[:, :2], other[:, :2])
    assert not np.isclose(seen[:, 2:], other[:, 2:]).any(axis=-1).all()


def test_dropout_depends_on_the_seed_alone():
    config = TINY["gpt-dropout"]
    model = MODELS["gpt"]
    params, (tokens, targets, seed) = model.init(config, 0), model.batch(config, 0)
    loss = model.make_loss(config)
    first, same, other = (loss(params, tokens, targets, s) for s in (seed, seed, seed + 1))
    assert first == same
    assert first != other
    ones = np.ones((40, 40))
    drop = gpt.dropout(0.25, seed)
    masks = drop(ones), drop(ones)
    assert not np.array_equal(*masks)
    assert set(np.unique(masks[0])) == {0.0, 1 / 0.75}
    # 1600 draws: six standard deviations are 0.065
    assert abs(np.mean(masks[0] == 0) - 0.25) < 0.065


def test_heat_is_conserved_on_a_plate_without_ends():
    config = TINY["heat"].model_copy(update={"dtype": "float64", "steps": 5})
    model = MODELS["heat"]
    initial = model.init(config, 0)
    flat = np.zeros_like(initial)
    loss = model.make_loss(config)
    # against a target of zero the loss is half the mean square, which diffusion only lowers
    assert loss(initial, flat) < 0.5 * np.mean(initial**2)
    k = 1 + 0.5 * initial**2
    assert np.isclose(heat.periodic_flow(initial, k, 1).sum(), 0, atol=1e-12)


def test_wrong_sizes_are_refused():
    with pytest.raises(ValueError, match="heads 3 does not divide width 32"):
        gpt.Config(heads=3)
    with pytest.raises(ValueError, match="do not fill"):
        vit.Config(stride=4)
    with pytest.raises(ValueError, match="not divisible"):
        unet.Config(size=6, depth=2)
