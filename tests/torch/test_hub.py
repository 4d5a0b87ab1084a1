"""Models of Hugging Face by name, without weights."""

import json

import pytest

from ckpt.cli.app import run
from ckpt.torch.hub import HubError, example, presets

FAMILIES = {"GPT2LMHeadModel", "LlamaForCausalLM", "BertForMaskedLM", "ViTForImageClassification"}


def test_four_families_have_presets():
    assert {preset["class"] for preset in presets().values()} == FAMILIES


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(HubError, match="gpt2-xl"):
        example("gpt5")


def test_the_command_says_what_goes_together(capsys):
    assert run(["plan", "hf:gpt2"]) == 1
    assert "--torch" in capsys.readouterr().err
    assert run(["plan", "configs/models/gpt.yaml", "--torch"]) == 1
    assert "hf:gpt2-xl" in capsys.readouterr().err


@pytest.mark.long
@pytest.mark.parametrize("name", ["gpt2", "llama-3.2-1b", "bert-base-uncased"])
def test_language_models_are_planned_by_name(name, capsys, tmp_path):
    pytest.importorskip("transformers", reason="models by name need the extra hf")
    out = tmp_path / "plan.json"
    told = ["plan", f"hf:{name}", "--torch", "--batch", "64", "--seq", "256", "--budget", "0.7x"]
    assert run([*told, "--device", "h100", "--out", str(out)]) == 0
    made = json.loads(out.read_text())
    assert made["peak_bytes"] <= made["budget_bytes"]
    assert "peak " in capsys.readouterr().out


@pytest.mark.long
def test_an_image_model_is_planned_by_name_and_has_no_tokens(capsys):
    pytest.importorskip("transformers", reason="models by name need the extra hf")
    assert run(["plan", "hf:vit-base-patch16-224", "--torch", "--batch", "2"]) == 0
    assert run(["plan", "hf:vit-base-patch16-224", "--torch", "--seq", "8"]) == 1
    assert "no seq" in capsys.readouterr().err
