"""Models of Hugging Face by name, without weights: configuration only, on fake tensors.

The shapes stand in `presets.yaml`; the code of the models is that of the `transformers` package
(extra `hf`). Masks are given explicitly, because what derives them looks at data.
"""

from importlib import resources
from typing import Any, Literal

import torch
import yaml

from ckpt.errors import CkptError

DType = Literal["f32", "bf16", "f16"]

_DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}


class HubError(CkptError, ValueError):
    """There is no such model, or the package that has it is missing."""


def presets() -> dict[str, dict[str, Any]]:
    """Class and configuration of every model that can be named.

    >>> presets()["gpt2-xl"]["config"]["n_layer"]
    48
    """
    text = resources.files("ckpt.torch").joinpath("presets.yaml").read_text("utf-8")
    return yaml.safe_load(text)


def example(
    name: str, *, batch: int = 1, seq: int | None = None, dtype: DType = "bf16"
) -> tuple[Any, dict[str, Any]]:
    """A model and its keyword arguments, to be made within `ckpt.torch.fake()`.

    Args:
        name: as in `presets`.
        batch: examples in a step.
        seq: tokens of an example, at most what the model can place, which is the default up to
            2048; an image model has none.
        dtype: of its parameters.

    Returns:
        The model, for training, and arguments that make it give a loss.

    Raises:
        HubError: there is no such model, or seq is too long.
    """
    known = presets()
    if name not in known:
        raise HubError(f"there is no preset {name!r}; there are {', '.join(known)}")
    try:
        import transformers
        from transformers.initialization import no_init_weights
    except ImportError as error:
        raise HubError(
            "models by name need the transformers package: pip install 'ckpt-compiler[hf]'"
        ) from error
    make: Any = getattr(transformers, known[name]["class"])
    config: Any = make.config_class(**known[name]["config"])
    config.use_cache = False
    before = torch.get_default_dtype()
    torch.set_default_dtype(_DTYPES[dtype])
    try:
        with no_init_weights():
            model = make(config).train()
    finally:
        torch.set_default_dtype(before)
    if getattr(model, "loss_type", None) is None:
        model.loss_type = "ForCausalLM"  # its default, which it would warn of
    if hasattr(config, "image_size"):
        if seq is not None:
            raise HubError(f"{name} reads images; it has no seq")
        size = (batch, config.num_channels, config.image_size, config.image_size)
        pixels = torch.zeros(size, dtype=_DTYPES[dtype])
        return model, {"pixel_values": pixels, "labels": torch.zeros(batch, dtype=torch.long)}
    longest = config.max_position_embeddings
    length = min(longest, 2048) if seq is None else seq
    if length > longest:
        raise HubError(f"{name} places at most {longest} tokens, not {length}")
    tokens = torch.zeros(batch, length, dtype=torch.long)
    mask = torch.ones(batch, 1, length, length, dtype=torch.bool)
    return model, {"input_ids": tokens, "attention_mask": mask, "labels": tokens}
