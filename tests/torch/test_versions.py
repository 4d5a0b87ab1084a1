"""Which PyTorch is taken, and what is said about another."""

import pytest
import torch

import ckpt.torch
from ckpt.torch import private
from ckpt.torch.private import TorchVersionError, check_version


@pytest.mark.parametrize("version", [torch.__version__, "2.11.0", "2.15.0+cpu", "3.0.0"])
def test_a_version_is_taken_if_it_has_what_is_needed(version):
    check_version(version)


@pytest.mark.parametrize("version", ["1.13.1", "2.10.0+cpu"])
def test_an_old_version_is_refused_by_its_number(version):
    with pytest.raises(TorchVersionError, match=r"too old: ckpt\.torch needs 2\.11 or newer"):
        check_version(version)


@pytest.mark.parametrize(
    ("needed", "said"),
    [
        (("torch._functorch.partitioners", "split_in_two"), "split_in_two is not there"),
        (("torch._functorch.splitters", "default_partition"), "splitters.default_partition is not"),
        (("torch._functorch.partitioners", "default_partition"), "has no parameter 'halves'"),
    ],
)
def test_a_version_with_other_internals_is_refused_by_name(needed, said, monkeypatch):
    monkeypatch.setitem(private._NEEDED, needed, ("halves",))
    for wanted in (
        lambda net, x: ckpt.torch.compile(net),
        lambda net, x: ckpt.torch.plan(net, (x,)),
    ):
        with pytest.raises(TorchVersionError, match=said) as refused:
            wanted(torch.nn.Linear(2, 2), torch.ones(2, 2))
        assert "Install a torch from 2.11 to 2.15" in str(refused.value)
