"""Models of Hugging Face by name, without weights."""

import json
import subprocess
import sys

import pytest
import yaml

from ckpt.cli.app import run
from ckpt.torch import hub
from ckpt.torch.hub import HubError, example, presets

FAMILIES = {
    "transformers.GPT2LMHeadModel",
    "transformers.LlamaForCausalLM",
    "transformers.BertForMaskedLM",
    "transformers.ViTForImageClassification",
    "diffusers.UNet2DConditionModel",
}

SMALL = """
gpt2: {class: transformers.GPT2LMHeadModel,
  config: {n_layer: 2, n_embd: 32, n_head: 2, attn_pdrop: 0.0, vocab_size: 100}}
stable-diffusion-1.5: {class: diffusers.UNet2DConditionModel,
  config: {sample_size: 16, cross_attention_dim: 32, block_out_channels: [32, 64],
    down_block_types: [CrossAttnDownBlock2D, DownBlock2D], layers_per_block: 1,
    up_block_types: [UpBlock2D, CrossAttnUpBlock2D]}}
"""


def needs(name):
    package, _, _ = presets()[name]["class"].partition(".")
    pytest.importorskip(package, reason=f"{name} needs {package}: the extra hf")


def test_five_families_have_presets():
    assert {preset["class"] for preset in presets().values()} == FAMILIES


@pytest.mark.parametrize("name", ["gpt2", "stable-diffusion-1.5"])
def test_a_small_model_is_planned_by_its_configuration(name, capsys, monkeypatch):
    needs(name)
    monkeypatch.setattr(hub, "presets", lambda: yaml.safe_load(SMALL))
    told = [] if name.startswith("stable") else ["--seq", "64"]
    told = ["plan", f"hf:{name}", "--torch", "--batch", "8", *told, "--budget", "0.9x"]
    assert run([*told, "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["peak_bytes"] <= made["budget_bytes"]
    assert made["runs_again"]


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("gpt2", ["--batch", "64", "--seq", "256"]),
        ("llama-3.2-1b", ["--batch", "64", "--seq", "256"]),
        ("bert-base-uncased", ["--batch", "64", "--seq", "256"]),
        ("vit-base-patch16-224", ["--batch", "16"]),
        ("stable-diffusion-1.5", ["--batch", "4"]),
    ],
)
def test_models_are_planned_by_name(name, told, capsys, tmp_path):
    needs(name)
    out = tmp_path / "plan.json"
    told = ["plan", f"hf:{name}", "--torch", *told, "--budget", "0.7x", "--device", "h100"]
    assert run([*told, "--out", str(out)]) == 0
    made = json.loads(out.read_text())
    assert made["peak_bytes"] <= made["budget_bytes"]
    assert "peak " in capsys.readouterr().out


# --- what is refused ------------------------------------------------------------------------------


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(HubError, match="gpt2-xl"):
        example("gpt5")


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ([], "--torch"),
        (["--torch", "--no-grad"], "--no-grad does not go together with --torch"),
        (["--torch", "--policy", "greedy"], "--policy does not go together with --torch"),
        (["--torch", "--no-fusion"], "--no-fusion does not go together with --torch"),
        (["--torch", "--jax"], "--torch does not go together with --jax"),
        (["--torch", "--budget", "lots"], "not a number of bytes: 'lots'"),
        (["--torch", "--batch", "0"], "batch must be at least 1, not 0"),
        (["--torch", "--seq", "-1"], "seq must be at least 1, not -1"),
    ],
)
def test_the_command_says_what_goes_together(told, said, capsys):
    assert run(["plan", "hf:gpt2", *told]) == 1
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("told", "said"),
    [
        (["configs/models/gpt.yaml", "--torch"], "hf:gpt2-xl"),
        (["configs/models/gpt.yaml", "--batch", "2"], "go with --torch"),
        (["hf:gpt2", "--torch", "--seq", "4096"], "gpt2 places at most 1024 tokens, not 4096"),
        (["hf:vit-base-patch16-224", "--torch", "--seq", "8"], "no seq"),
    ],
)
def test_what_a_model_cannot_be_asked(told, said, capsys):
    pytest.importorskip("transformers", reason="models by name need the extra hf")
    assert run(["plan", *told]) == 1
    assert said in capsys.readouterr().err


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(HubError, match=r"needs the package diffusers.*ckpt-compiler\[hf\]"):
        example("stable-diffusion-1.5")


def test_a_missing_torch_is_named():
    program = (
        "import sys; sys.modules['torch'] = None\n"
        "from ckpt.cli.app import run; sys.exit(run(['plan', 'hf:gpt2', '--torch']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "ckpt.torch needs PyTorch, which is not installed" in done.stderr
    assert "Traceback" not in done.stderr
