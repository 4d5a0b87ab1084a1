"""Models of Hugging Face by name, without weights: configuration only, on fake tensors.

The shapes stand in `presets.yaml`; the code of the models is that of the packages `transformers`
and `diffusers` (extra `hf`). Masks are given explicitly, because what derives them looks at data.
"""

from collections.abc import Generator
from contextlib import contextmanager
from importlib import import_module, resources
from typing import Any, Literal

import torch
import yaml

from ckpt.errors import CkptError

DType = Literal["f32", "bf16", "f16"]

_DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}

_PROMPT = 77
"""Tokens of a prompt, as the text encoder of Stable Diffusion gives them."""

Example = tuple[torch.nn.Module, dict[str, Any]]
"""A model, for training, and keyword arguments that make it give a loss."""


class HubError(CkptError, ValueError):
    """There is no such model, or not of this size, or the package that has it is missing."""


def presets() -> dict[str, dict[str, Any]]:
    """Class, with its package, and configuration of every model that can be named.

    >>> presets()["gpt2-xl"]["class"], presets()["gpt2-xl"]["config"]["n_layer"]
    ('transformers.GPT2LMHeadModel', 48)
    """
    text = resources.files("ckpt.torch").joinpath("presets.yaml").read_text("utf-8")
    return yaml.safe_load(text)


def example(name: str, *, batch: int = 1, seq: int | None = None, dtype: DType = "bf16") -> Example:
    """A model and its keyword arguments, to be made within `ckpt.torch.fake()`.

    Args:
        name: as in `presets`.
        batch: examples in a step.
        seq: tokens of an example, at most what the model can place, which is the default up to
            2048; a model of images has none.
        dtype: of its parameters.

    Raises:
        HubError: there is no such model, it cannot take these sizes, or its package is missing.

    >>> example("gpt2-xl", batch=0)
    Traceback (most recent call last):
    ...
    ckpt.torch.hub.HubError: batch must be at least 1, not 0
    """
    known = presets()
    if name not in known:
        raise HubError(f"there is no preset {name!r}; there are {', '.join(known)}")
    for what, size in (("batch", batch), ("seq", seq)):
        if size is not None and size < 1:
            raise HubError(f"{what} must be at least 1, not {size}")
    config = known[name]["config"]
    package, _, kind = known[name]["class"].partition(".")
    try:
        make = getattr(import_module(package), kind)
        from transformers.initialization import no_init_weights
    except ImportError as error:
        raise HubError(
            f"{name} needs the package {package}, which cannot be imported ({error}): "
            "pip install 'ckpt-compiler[hf]'"
        ) from error
    with no_init_weights(), _default_dtype(_DTYPES[dtype]):
        if package == "diffusers":
            return _denoising(name, make, config, batch, seq)
        return _transformer(name, make, config, batch, seq)


def _transformer(name: str, make: Any, config: Any, batch: int, seq: int | None) -> Example:
    """A model of tokens, or of images, that gives its loss."""
    told = make.config_class(**config, use_cache=False)
    images = hasattr(told, "image_size")
    longest = None if images else told.max_position_embeddings
    length = _length(name, seq, longest)
    model = make(told).train()
    if getattr(model, "loss_type", None) is None:
        model.loss_type = "ForCausalLM"  # its default, which it would warn of
    if images:
        pixels = torch.zeros(batch, told.num_channels, told.image_size, told.image_size)
        return model, {"pixel_values": pixels, "labels": torch.zeros(batch, dtype=torch.long)}
    tokens = torch.zeros(batch, length, dtype=torch.long)
    mask = torch.ones(batch, 1, length, length, dtype=torch.bool)
    return model, {"input_ids": tokens, "attention_mask": mask, "labels": tokens}


class Denoising(torch.nn.Module):
    """A U-Net with the loss that it is trained by: what it takes for noise against what is.

    Ho, Jain and Abbeel, "Denoising Diffusion Probabilistic Models" (NeurIPS 2020).
    """

    def __init__(self, net: torch.nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(
        self, noisy: torch.Tensor, time: torch.Tensor, prompt: torch.Tensor, noise: torch.Tensor
    ) -> torch.Tensor:
        """The mean square error."""
        (found,) = self.net(noisy, time, prompt, return_dict=False)
        return torch.nn.functional.mse_loss(found, noise)


def _denoising(name: str, make: Any, config: Any, batch: int, seq: int | None) -> Example:
    """A U-Net of latent images under a prompt, and its loss."""
    _length(name, seq, None)
    net = make(**config)
    told = net.config
    latents = torch.zeros(batch, told.in_channels, told.sample_size, told.sample_size)
    return Denoising(net).train(), {
        "noisy": latents,
        "time": torch.zeros(batch, dtype=torch.long),
        "prompt": torch.zeros(batch, _PROMPT, told.cross_attention_dim),
        "noise": torch.zeros_like(latents),
    }


def _length(name: str, seq: int | None, longest: int | None) -> int:
    """How many tokens an example has; none, where the model reads images."""
    if longest is None:
        if seq is not None:
            raise HubError(f"{name} reads images; it has no seq")
        return 0
    length = min(longest, 2048) if seq is None else seq
    if length > longest:
        raise HubError(f"{name} places at most {longest} tokens, not {length}")
    return length


@contextmanager
def _default_dtype(dtype: torch.dtype) -> Generator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
