"""What is trained on: shapes, text and the hidden temperature, and models that they do not fit."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest

from experiments import text
from experiments.data import DataError
from experiments.models import gpt, heat, mlp, unet
from experiments.shapes import BACKGROUND, BOX, DISC, draw_shapes
from experiments.supply import HELD_OUT, supply_of
from experiments.text import deal_windows, encode, real_text


def test_the_text_is_real_and_comes_back_from_its_codes():
    whole = real_text()
    assert len(whole) > 30_000
    assert "data" in whole
    codes, letters = encode(whole)
    assert "".join(letters[code] for code in codes[:2000]) == whole[:2000]
    assert len(letters) <= 128


def test_windows_are_of_the_text_and_targets_follow():
    codes = np.arange(50, dtype=np.int32)
    for tokens, targets in itertools.islice(deal_windows(codes, 4, 7, seed=1), 20):
        assert tokens.shape == targets.shape == (4, 7)
        assert np.array_equal(targets, tokens + 1)
        assert (np.diff(tokens, axis=1) == 1).all()
    first, again = (next(deal_windows(codes, 4, 7, seed=1))[0] for _ in range(2))
    assert np.array_equal(first, again)
    seen = {int(t[0, 0]) for t, _ in itertools.islice(deal_windows(codes, 1, 48, seed=0), 50)}
    assert seen == {0, 1}  # the last window too
    with pytest.raises(DataError, match="50 characters; a window takes 51"):
        next(deal_windows(codes, 1, 50, seed=0))


def test_shapes_are_what_they_are_called():
    images, classes = draw_shapes(np.random.default_rng(2), 64, 32, "float32")
    assert images.dtype == np.float32
    # the noise has mean zero: over so many pixels six standard deviations are below 0.03
    assert abs(images[:, 0][classes == BACKGROUND].mean()) < 0.03
    assert abs(images[:, 0][classes != BACKGROUND].mean() - 1) < 0.03
    for one in classes:
        assert {BACKGROUND, BOX} <= set(np.unique(one))
        rows, columns = np.nonzero(one == BOX)
        area = (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
        assert area == len(rows)  # nothing is missing from a box
        rows, columns = np.nonzero(one == DISC)
        if len(rows):
            assert np.ptp(rows) <= 2 * (32 // 4) and np.ptp(columns) <= 2 * (32 // 4)


def test_the_hidden_temperature_explains_what_is_measured():
    config = heat.Config(size=8, steps=3, batch=2, dtype="float64")
    (measured,) = next(supply_of("heat", config, 5).batches)
    assert measured.shape == (2, 8, 8)
    loss = heat.make_loss(config)
    cold = loss(np.zeros_like(measured), measured)
    assert loss(measured, measured) < cold  # nearer to the hidden state than nothing is


@pytest.mark.parametrize(
    ("data", "config", "said"),
    [
        ("digits", gpt.Config(), "does not classify images"),
        ("digits", unet.Config(), "does not classify images"),
        ("digits", mlp.Config(features=65), "8 x 8 = 64 pixels"),
        ("text", mlp.Config(), "is for the model 'gpt'"),
        ("text", gpt.Config(dropout=0.1), "without dropout"),
        ("text", gpt.Config(vocabulary=10), "different characters"),
        ("shapes", mlp.Config(), "are for the model 'unet'"),
        ("shapes", unet.Config(classes=2), "background, disc or box"),
        ("heat", mlp.Config(), "is for the model 'heat'"),
    ],
)
def test_what_does_not_go_together(data, config, said):
    with pytest.raises(DataError, match=said):
        supply_of(data, config, 0)


def test_a_text_that_is_missing(monkeypatch):
    def missing(name):
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(text, "resources", SimpleNamespace(files=missing))
    with pytest.raises(DataError, match="quickstart"):
        real_text()


@pytest.mark.parametrize(
    ("data", "config"),
    [
        ("random", mlp.Config()),
        ("text", gpt.Config(vocabulary=128)),
        ("shapes", unet.Config(classes=3)),
        ("heat", heat.Config()),
    ],
)
def test_what_is_held_out_is_tested_on(data, config):
    assert (supply_of(data, config, 0).accuracy is not None) == (data in HELD_OUT)
