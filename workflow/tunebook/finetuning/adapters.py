"""What of a model is trained: a new adapter of any kind (configuration/adapters.py), or weights of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from tunebook.configuration.adapters import ADAPTERS, PROMPTS
from tunebook.errors import TunebookError
from tunebook.finetuning.matrices import assert_adapted
from tunebook.finetuning.names import is_bias, is_one_of
from tunebook.finetuning.positions import positions_of

PEFT_TASKS = {"causal-lm": "CAUSAL_LM", "seq2seq-lm": "SEQ_2_SEQ_LM", "sequence-classification": "SEQ_CLS"}
OURS = ("kind", "loraplus_lr_ratio")  # what is no argument of peft's; the ratio is the optimizer's


def make_trainable(model: torch.nn.Module, run: dict[str, Any], *, whole: Sequence[str] = ()) -> torch.nn.Module:
    """The model of a run (run.json) with what the run trains, and nothing else, trainable: a new adapter, or weights of its own.

    `whole`: paths of modules that are trained whole and saved with the adapter, beside those of `modules_to_save`; they get
    no adapter. Raises TunebookError where the model has nothing to train, and with peft's reason where peft refuses.
    """
    if run["adapter"] is None:
        return _own_weights(model, run, whole)
    from peft import get_peft_model, prepare_model_for_kbit_training  # 3 s that the untouched model need not wait

    if run["quantization"]:
        model = prepare_model_for_kbit_training(
            model, use_gradient_checkpointing=run["training"]["activation_checkpointing"]
        )
    _check(model, run)
    try:
        adapted = get_peft_model(model, _peft_config(model, run, whole))
    except (ValueError, TypeError) as error:
        raise _refusal(model, run["adapter"], error) from None
    if run["adapter"].get("target_modules") == "all-linear":
        assert_adapted(adapted)
    return adapted


def _own_weights(model: torch.nn.Module, run: dict[str, Any], whole: Sequence[str]) -> torch.nn.Module:
    """All weights trainable, or all biases (Ben Zaken et al. 2022), or the output head alone; a new head always is."""
    trains = run["trains"]
    if trains == "all":
        return model.requires_grad_(True)
    model.requires_grad_(False)
    if trains == "biases":
        chosen = [parameter for name, parameter in model.named_parameters() if is_bias(name)]
    else:
        head = None if whole else model.get_output_embeddings()
        chosen = list(head.parameters()) if head is not None else []
    if not chosen and not (whole and trains == "head"):
        raise TunebookError(
            f"methods: found train: {trains}, but this {model.config.model_type} model has no {trains}: take another method for it"
        )
    if trains == "head" and any(parameter is model.get_input_embeddings().weight for parameter in chosen):
        raise TunebookError(
            f"methods: found train: head, but the output layer of this {model.config.model_type} model is its table of input "
            "embeddings, which would be trained with it: take another method for it"
        )
    for parameter in chosen:
        parameter.requires_grad = True
    for module in whole:
        model.get_submodule(module).requires_grad_(True)
    return model


def _peft_config(model: torch.nn.Module, run: dict[str, Any], whole: Sequence[str]) -> Any:
    import peft

    arguments = {key: value for key, value in run["adapter"].items() if key not in OURS}
    kind = run["adapter"]["kind"]
    arguments["modules_to_save"] = list(dict.fromkeys([*arguments["modules_to_save"], *whole])) or None
    for key in ("target_modules", "target_parameters"):
        if key in arguments and not isinstance(arguments[key], str):
            arguments[key] = list(arguments[key] or ()) or None
    if kind == "ln_tuning" and arguments["target_modules"] is None:
        arguments["target_modules"] = list(norms(model))
    return getattr(peft, ADAPTERS[kind].peft_config)(task_type=PEFT_TASKS[run["task"]], **arguments)


def norms(model: torch.nn.Module) -> Iterator[str]:
    """Paths of a model's normalisation layers: LayerNorm, RMSNorm and their kin, with a weight of one dimension. peft's own
    lists name a part of them for some architectures (of Qwen2's three it names one), and none for others."""
    for path, module in model.named_modules():
        weight = getattr(module, "weight", None)
        if "norm" in type(module).__name__.lower() and isinstance(weight, torch.nn.Parameter) and weight.ndim == 1:
            yield path


def _check(model: torch.nn.Module, run: dict[str, Any]) -> None:
    """What peft would change without an error: block sizes that do not divide a layer, positions that the model lacks."""
    if run["adapter"]["kind"] in PROMPTS:
        _check_positions(model, run)
    if run["adapter"]["kind"] == "oft":
        _check_blocks(model, run["adapter"]["oft_block_size"], run["adapter"]["target_modules"])


def _check_blocks(model: torch.nn.Module, size: int, targets: Any) -> None:
    for path, module in model.named_modules():
        if not isinstance(module, torch.nn.Linear) or module.in_features % size == 0:
            continue
        if module is not model.get_output_embeddings() if targets == "all-linear" else is_one_of(path, targets):
            raise TunebookError(
                f"adapter.oft_block_size: found {size}, which does not divide the {module.in_features} inputs of {path}: take a "
                "divisor, or list other layers under target_modules"
            )


def _check_positions(model: torch.nn.Module, run: dict[str, Any]) -> None:
    added, length = run["adapter"]["num_virtual_tokens"], run["training"]["max_length"]
    found = positions_of(model.config.to_dict()).limit
    if found is not None and added + length > found:
        raise TunebookError(
            f"adapter.num_virtual_tokens: found {added}, which stand before at most {length} tokens (training.max_length), but the "
            f"model has {found} positions: lower one of the two"
        )


def _refusal(model: torch.nn.Module, adapter: dict[str, Any], error: Exception) -> TunebookError:
    if "lora_dropout" in str(error):
        return TunebookError(
            f"adapter.lora_dropout: found {adapter['lora_dropout']}; the experts of this {model.config.model_type} model are "
            "parameters and no layers, and peft adapts parameters without dropout only: set adapter.lora_dropout to 0, or "
            "list the layers of the attention under adapter.target_modules to leave the experts alone"
        )
    reason = " ".join(str(error).split())
    if "target_modules" not in adapter:
        return TunebookError(
            f"adapter {adapter['kind']}: peft refuses this {model.config.model_type} model: {reason}; take another method for it"
        )
    names = sorted({name.rsplit(".", 1)[-1] for name, m in model.named_modules() if isinstance(m, torch.nn.Linear)})
    return TunebookError(
        f"adapter.target_modules: found {adapter['target_modules']}; peft refuses: {reason}; "
        f"the model's linear modules are: {', '.join(names)}: name those that shall be adapted"
    )
