"""Stage `fetch-model`: a pretrained model from its source -> safetensors, tokenizer and provenance.json."""

from __future__ import annotations

import argparse
import shutil
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tunebook.claims import refuse_other_sources
from tunebook.data.provenance import provenance
from tunebook.data.sources import files_of
from tunebook.data.sources.origin import Origin
from tunebook.errors import TunebookError
from tunebook.finetuning.chat_templates import check_chat_template
from tunebook.finetuning.pickled_weights import INDEX, convert
from tunebook.finetuning.random_weights import write_random_model
from tunebook.records import read_json, read_spec, write_json
from tunebook.storage import folder_in_place

WEIGHTS_INDEX = "model.safetensors.index.json"
PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt")


def fetch_model(spec: dict[str, Any], output: Path) -> None:
    """Fetch the model `spec` (study.json's specs for `fetch-model`) into the folder `output`.

    A GGUF file is dequantized to float32 once; an encoder is doubled to an encoder-decoder once; the hub's models that
    have no safetensors are converted once, by a reader that runs no code; random weights are drawn here.
    """
    with tempfile.TemporaryDirectory() as workdir, folder_in_place(output) as folder:
        if spec["source"]["type"] == "random":
            origin = write_random_model(spec["source"], spec["task"], folder)
        else:
            origin = files_of(spec["source"], Path(workdir))
            _take(spec, origin, folder)
            origin.refuse_changed()
        _refuse_unsafe(spec["name"], folder)
        _refuse_incomplete(spec["name"], folder)
        check_chat_template(spec["name"], folder)
        if spec["encoder_decoder"]:
            _assemble_encoder_decoder(folder)
        parameters = _parameters(folder)
        record = provenance(
            "model", spec, folder, revision=origin.revision, sha256=origin.sha256, parameters=parameters
        )
        write_json(folder / "provenance.json", record)
    print(f"{spec['name']}: {parameters / 1e6:.1f} million parameters in {output}")


def _take(spec: dict[str, Any], origin: Origin, folder: Path) -> None:
    """Put a source's files into the model's folder, as safetensors."""
    gguf = [file for file in origin.files if file.suffix == ".gguf"]
    if gguf:
        _convert_gguf(gguf[0], folder)
    elif spec["source"]["type"] == "hub":
        _take_from_hub(spec["name"], origin.files, folder)
    else:
        _copy(origin.files, folder)


def _copy(files: tuple[Path, ...], folder: Path) -> None:
    """Copy a model's own files: what stands beside config.json, not what stands in folders below it."""
    configs = [file for file in files if file.name == "config.json"]
    if not configs:
        raise TunebookError(
            f"no config.json among {', '.join(file.name for file in files[:10])}; name the model's folder"
        )
    root = min((file.parent for file in configs), key=lambda path: len(path.parts))
    for file in files:
        if file.parent == root:
            shutil.copyfile(file, folder / file.name)


def _take_from_hub(name: str, files: tuple[Path, ...], folder: Path) -> None:
    """Copy a model of the hub; pickled weights are converted on the way, references to code of its own are left out."""
    pickled = [file for file in files if file.suffix == ".bin"]
    _copy(tuple(file for file in files if file not in pickled and file.name != INDEX), folder)
    convert(name, pickled, folder)
    config = folder / "config.json"
    values = read_json(config)
    if "auto_map" in values and values.get("model_type") in _known_architectures():
        del values["auto_map"]  # transformers has the architecture itself, and its code was not fetched
        write_json(config, values)


def _known_architectures() -> set[str]:
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    return set(CONFIG_MAPPING_NAMES)


def _refuse_unsafe(name: str, folder: Path) -> None:
    """Refuse weights that could run code when they are opened, and configs that ask for remote code."""
    pickles = [file.name for file in folder.iterdir() if file.suffix in PICKLES]
    if pickles:
        raise TunebookError(
            f"model {name}: found {', '.join(pickles)}; pickled files are never opened: convert them to safetensors"
        )
    config = read_json(folder / "config.json")
    if not isinstance(config, dict):
        raise TunebookError(
            f"model {name}: its config.json holds {type(config).__name__}, not a mapping; take another revision"
        )
    if "auto_map" in config:
        raise TunebookError(f"model {name}: its config.json names code of its own (auto_map); remote code is never run")
    if (kind := config.get("model_type")) not in _known_architectures():
        raise TunebookError(
            f"model {name}: found model_type {kind!r} in its config.json, which transformers {version('transformers')} does not "
            "have; take a model of an architecture that it has"
        )


def _refuse_incomplete(name: str, folder: Path) -> None:
    """Refuse weights of which a part is missing."""
    there = sorted(file.name for file in folder.iterdir())
    parts = [file for file in there if file.endswith(".safetensors")]
    if not parts:
        raise TunebookError(f"model {name}: no .safetensors file among {', '.join(there)}")
    if "model.safetensors" in parts:
        return
    if WEIGHTS_INDEX not in there:
        raise TunebookError(
            f"model {name}: found {', '.join(parts)}, but no {WEIGHTS_INDEX}, which says what is in which part"
        )
    named = set(read_json(folder / WEIGHTS_INDEX)["weight_map"].values())
    if missing := sorted(named - set(parts)):
        raise TunebookError(
            f"model {name}: {WEIGHTS_INDEX} names {len(named)} parts, {', '.join(missing)} among them, which is not there (found "
            f"{', '.join(parts)}); fetch them again"
        )


def _convert_gguf(file: Path, folder: Path) -> None:
    """Dequantize a GGUF file to float32 safetensors with its tokenizer (20 to 30 s for 135 million parameters)."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    place = {"pretrained_model_name_or_path": file.parent, "gguf_file": file.name}
    try:
        model = AutoModelForCausalLM.from_pretrained(**place, dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(**place)
    except Exception as error:  # gguf and transformers raise whatever comes of reading wrong bytes
        raise TunebookError(
            f"{file.name}: not a GGUF file that transformers can convert ({type(error).__name__}: "
            f"{' '.join(str(error).split())[:200]}); fetch it again, or take the model as safetensors"
        ) from None
    # transformers 5.23 marks the dequantized model as quantized and refuses to save it; the marks are removed
    for holder, mark in (
        (model, "hf_quantizer"),
        (model, "quantization_method"),
        (model.config, "quantization_config"),
    ):
        if hasattr(holder, mark):
            delattr(holder, mark)
    model.is_quantized = False
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _assemble_encoder_decoder(folder: Path) -> None:
    """Make a seq2seq model of two copies of the encoder in `folder` (Rothe et al. 2020, "Leveraging pre-trained
    checkpoints for sequence generation tasks": BERT2BERT). The decoder's cross-attention starts at random, seeded."""
    import torch
    from transformers import AutoTokenizer, EncoderDecoderModel

    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = EncoderDecoderModel.from_encoder_decoder_pretrained(folder, folder)
    for config in (model.config, model.generation_config):
        config.decoder_start_token_id = tokenizer.cls_token_id
        config.eos_token_id = tokenizer.sep_token_id
        config.pad_token_id = tokenizer.pad_token_id
    for file in folder.glob("*.safetensors"):
        file.unlink()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _parameters(folder: Path) -> int:
    """Number of stored parameters. Raises TunebookError where a file is broken, or a weight is not a number (NaN)."""
    import torch
    from safetensors import SafetensorError, safe_open

    count = 0
    for file in folder.glob("*.safetensors"):
        try:
            with safe_open(file, framework="pt") as tensors:
                for name in tensors.keys():  # noqa: SIM118 - it is no mapping
                    tensor = tensors.get_tensor(name)
                    count += tensor.numel()
                    if tensor.is_floating_point() and bool(torch.isnan(tensor.float()).any()):
                        raise TunebookError(
                            f"{file.name}: {name} holds NaN, which is no number; the weights are damaged: take another revision"
                        )
        except SafetensorError as error:
            raise TunebookError(f"{file.name}: not a whole safetensors file ({error}); fetch it again") from None
    return count


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--study", type=Path, required=True, help="study.json")
    parser.add_argument("--model", required=True, help="name of the model")
    parser.add_argument("--output", type=Path, required=True, help="folder for the model")


def main(args: argparse.Namespace) -> None:
    spec = read_spec(args.study, "fetch-model", args.model)
    refuse_other_sources({"fetch-model": {args.model: spec}}, args.output.parent.parent, args.study.parent.name)
    fetch_model(spec, args.output)
