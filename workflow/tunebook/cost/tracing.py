"""The trace of a model: one forward pass without memory, recorded as a `Program` that needs no torch to be played.

The model runs on fake tensors, which have a shape and no data. Each operation whose result depends on a weight is recorded.
What its derivative keeps is asked of PyTorch itself: the operation runs once more for each of its inputs with a gradient
for that input alone, and saved_tensors_hooks see what is saved. Two passes of different sizes must give one program.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from transformers import AutoConfig, EncoderDecoderConfig

from tunebook.cost.program import LABELS, Batch, Made, Program
from tunebook.cost.recorder import OWN, Recorder
from tunebook.errors import TunebookError
from tunebook.finetuning.names import DROPOUTS
from tunebook.finetuning.pretrained import AUTO_CLASSES
from tunebook.finetuning.quantization import let_falcon_be_quantized, output_layers

MARK, MARK_STEP = 0.5, 0.001  # dropout shares that tell which key of the config a dropout follows
FEWEST, MOST = 23, 2048  # tokens to trace with
ROWS = (10_007, 10_009)  # primes, that no side of a weight has as a factor


def trace(config: dict[str, Any], task: str, *, encoder_decoder: bool = False) -> Program:
    """The program of a model of `config` (keys of config.json) with the head of a task.

    Raises TunebookError where the model cannot be traced: its sizes depend on data, or on more than rows and lengths.
    """
    built = _config(config, task, encoder_decoder=encoder_decoder)
    try:
        first, second = (
            _recorded(built, task, point, untied=config.get("tie_word_embeddings") is False) for point in (0, 1)
        )
    except TunebookError:
        raise
    except Exception as error:  # whatever a model's code does not do without data
        words = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise TunebookError(
            f"models of type {built.model_type} cannot be traced: {words}; rehearse the run instead"
        ) from None
    if first != second:
        raise TunebookError(
            f"models of type {built.model_type} cannot be traced: the sizes of their tensors do not follow from rows and lengths "
            "alone; rehearse the run instead"
        )
    return first


def _config(config: dict[str, Any], task: str, *, encoder_decoder: bool) -> Any:
    try:
        if encoder_decoder and config["model_type"] != "encoder-decoder":
            encoder, decoder = AutoConfig.for_model(**config), AutoConfig.for_model(**config)
            return EncoderDecoderConfig.from_encoder_decoder_configs(encoder, decoder)
        built = AutoConfig.for_model(**copy.deepcopy(config))
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        words = (str(error) or type(error).__name__).splitlines()[0][:200]
        raise TunebookError(f"models of type {config['model_type']} are not known to transformers: {words}") from None
    if type(built) not in AUTO_CLASSES[task]._model_mapping:
        raise TunebookError(f"models of type {built.model_type} have no head for {task}")
    if task == "sequence-classification":
        built.num_labels = LABELS
    return built


def _recorded(config: Any, task: str, point: int, *, untied: bool) -> Program:
    """One pass. `point`: which of two sizes it has."""
    config = copy.deepcopy(config)
    marks = {}
    for number, key in enumerate(DROPOUTS):
        if isinstance(getattr(config, key, None), int | float):
            marks[round(MARK + number * MARK_STEP, 6)] = float(getattr(config, key))
            setattr(config, key, MARK + number * MARK_STEP)
    config.pad_token_id = 0 if getattr(config, "pad_token_id", None) is None else config.pad_token_id
    with FakeTensorMode(allow_non_fake_inputs=True):
        model = _built(config, task, untied=untied)
        batch = _sizes(model, config, task, point)
        recorder = Recorder(model, batch, marks, labels=task == "sequence-classification")
        inputs = _inputs(model, batch)
        with torch.enable_grad(), recorder.layers(), recorder:
            logits = model(**inputs, use_cache=False).logits if _caches(model) else model(**inputs).logits
        cached = _cached(model, inputs, recorder) if task != "sequence-classification" else ()
    return recorder.program(logits, cached, _spared(model, task), _heads(model, task))


def _built(config: Any, task: str, *, untied: bool) -> torch.nn.Module:
    from transformers.initialization import no_init_weights

    if config.model_type == "falcon":
        let_falcon_be_quantized()  # as for training
    with no_init_weights():
        model = AUTO_CLASSES[task].from_config(config, dtype=OWN)
    if any(parameter.ndim > 2 and "experts" in name for name, parameter in model.named_parameters()):
        raise TunebookError(
            f"models of type {config.model_type} cannot be traced: the data decide which experts compute; rehearse the run instead"
        )
    model.tie_weights()
    head = model.get_output_embeddings()
    if untied and head is not None and head.weight is model.get_input_embeddings().weight:
        head.weight = torch.nn.Parameter(torch.empty_like(head.weight))  # as its files have it
    return model.requires_grad_(True).train()


def _sizes(model: torch.nn.Module, config: Any, task: str, point: int) -> Batch:
    """Rows and lengths that are primes and no factor of a weight's side, within the model's positions."""
    sides = {side for parameter in model.parameters() for side in parameter.shape}
    positions = [getattr(part, "max_position_embeddings", None) for part in (config, *_parts(config))]
    most = min([MOST, *(limit for limit in positions if isinstance(limit, int) and limit > FEWEST)])
    primes = [n for n in range(most, FEWEST - 1, -1) if all(n % d for d in range(2, int(n**0.5) + 1))]
    free = [n for n in primes if not any(side % n == 0 for side in sides)]
    clash = any(
        side % n == 0
        for side in sides - {LABELS}
        for n in (*ROWS, LABELS if task == "sequence-classification" else ROWS[0])
    )
    if len(free) < 4 or clash:
        raise TunebookError(
            f"models of type {config.model_type} cannot be traced with {most} positions; rehearse the run instead"
        )
    return Batch(ROWS[point], free[2 * point], free[2 * point + 1])


def _parts(config: Any) -> Iterator[Any]:
    for name in ("encoder", "decoder", "text_config"):
        if hasattr(config, name) and not isinstance(getattr(config, name), int | str | dict | type(None)):
            yield getattr(config, name)


def _inputs(model: torch.nn.Module, batch: Batch) -> dict[str, torch.Tensor]:
    """As the collator makes them: tokens and their mask, and an encoder-decoder's targets."""
    shape = (batch.rows, batch.length)
    inputs = {"input_ids": torch.ones(shape, dtype=torch.long), "attention_mask": torch.ones(shape, dtype=torch.long)}
    if model.config.is_encoder_decoder:
        inputs["decoder_input_ids"] = torch.ones((batch.rows, batch.target), dtype=torch.long)
    return inputs


def _caches(model: torch.nn.Module) -> bool:
    return hasattr(model.config, "use_cache") or model.config.is_encoder_decoder


@torch.no_grad()
def _cached(model: torch.nn.Module, inputs: dict[str, torch.Tensor], recorder: Recorder) -> tuple[Made, ...]:
    """Keys and values that stay while answers are made."""
    kept = model.eval()(**inputs, use_cache=True).past_key_values
    model.train()
    parts = [kept.self_attention_cache, kept.cross_attention_cache] if model.config.is_encoder_decoder else [kept]
    return tuple(recorder.made(each) for part in parts for layer in part.layers for each in (layer.keys, layer.values))


def _spared(model: torch.nn.Module, task: str) -> tuple[str, ...]:
    """What quantization leaves alone by itself, see finetuning/quantization.py."""
    return tuple(sorted({*output_layers(model), *(model._keep_in_fp32_modules or []), *_heads(model, task)}))


def _heads(model: torch.nn.Module, task: str) -> tuple[str, ...]:
    """Modules beside the pretrained model: they start at random and are trained whole."""
    if task != "sequence-classification":
        return ()
    names = [name for name, child in model.named_children() if any(True for _ in child.parameters())]
    return tuple(sorted(name for name in names if name != model.base_model_prefix))
