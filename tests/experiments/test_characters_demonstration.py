"""Training an LSTM on a text in two budgets."""

import pytest

from experiments.demonstrations import characters
from experiments.demonstrations.characters import Characters, draw, report, train

SMALL = Characters(hidden=8, length=300, batch=2, steps=12, rate=0.05, budgets=("1.0x", "0.2x"))


def test_the_loss_falls_in_the_same_bits_in_less_memory(tmp_path):
    pytest.importorskip("sklearn")
    much, little = train(SMALL)
    assert much.losses == little.losses
    assert much.losses[-1] < 0.9 * much.losses[0]
    assert little.peak_bytes < much.peak_bytes
    assert little.slots < much.slots == SMALL.length
    assert little.again > much.again == 0
    draw([much, little], tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size


def test_another_result_is_an_error(monkeypatch):
    pytest.importorskip("sklearn")
    dealt = characters.windows(SMALL)
    steps = []

    def compiled(f, **_):
        steps.append(f)
        made = ckpt_compile(f)
        return made if len(steps) == 1 else Off(made)

    class Off:
        def __init__(self, made):
            self.made = made

        def __getattr__(self, name):
            return getattr(self.made, name)

        def __call__(self, *args):
            value, *rest = self.made(*args)
            return value + 1, *rest

    ckpt_compile = characters.ckpt.compile
    monkeypatch.setattr(characters, "windows", lambda config: dealt)
    monkeypatch.setattr(characters.ckpt, "compile", compiled)
    with pytest.raises(characters.DemonstrationError, match="other weights"):
        train(SMALL)


def test_the_report_says_what_the_memory_was(capsys):
    pytest.importorskip("sklearn")
    report(SMALL.model_copy(update={"steps": 1}))
    assert "slots" in capsys.readouterr().out
