"""Train a small GPT on real text, plain and under a byte budget both ways: the same losses.

    python -m experiments.torch_training [--steps 30] [--budget 0.6x]

The text is what scikit-learn ships about its data sets, letter by letter.
"""

import time
from collections.abc import Callable
from importlib import resources
from typing import Any

import torch
from cyclopts import App

import ckpt.torch
from experiments.models.torch_nets import GPT

LENGTH, BATCH = 128, 8

app = App(name="torch_training", help=__doc__)


def text() -> torch.Tensor:
    """The letters of the text, as numbers of bytes."""
    folder = resources.files("sklearn.datasets.descr")
    pages = sorted((p for p in folder.iterdir() if p.name.endswith(".rst")), key=lambda p: p.name)
    return torch.tensor(list(b"\n".join(page.read_bytes() for page in pages)))


def train(wrap: Callable[[Any], Any], letters: torch.Tensor, steps: int) -> tuple[list[float], Any]:
    """Losses of a seeded training run, and the wrapped model."""
    torch.manual_seed(0)
    model = GPT(layers=4, width=64, heads=4, vocabulary=256, length=LENGTH, dropout=0.1)
    call = wrap(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses: list[float] = []
    for _ in range(steps):
        starts = torch.randint(0, len(letters) - LENGTH - 1, (BATCH,))
        rows = torch.stack([letters[int(s) : int(s) + LENGTH + 1] for s in starts])
        loss = call(rows[:, :-1].contiguous(), rows[:, 1:].contiguous())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses, call


@app.default
def main(*, steps: int = 30, budget: str = "0.6x") -> None:
    """Train three times and compare.

    Args:
        steps: of each run.
        budget: for the two planned runs.
    """
    letters = text()
    print(f"{len(letters):,} letters, {steps} steps, budget {budget}")
    ways: dict[str, Callable[[Any], Any]] = {
        "plain": lambda model: model,
        "compiled": lambda model: ckpt.torch.compile(model, budget=budget, backend="aot_eager"),
        "eager": lambda model: ckpt.torch.checkpoint(model, budget=budget),
    }
    first: list[float] = []
    for name, wrap in ways.items():
        began = time.perf_counter()
        losses, call = train(wrap, letters, steps)
        first = first or losses
        spent = time.perf_counter() - began
        plan = getattr(call, "plan", None)
        memory = f", peak {plan.peak_bytes:,} of {plan.budget_bytes:,} bytes" if plan else ""
        same = "the same losses" if losses == first else "other losses"
        print(f"{name:8} loss {losses[0]:.4f} -> {losses[-1]:.4f}, {same}, {spent:.1f} s{memory}")


if __name__ == "__main__":
    app()
