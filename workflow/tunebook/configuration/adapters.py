"""The kinds of adapter: the arguments of each, named as peft's, with the defaults of peft or, where it has none, of the paper."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from tunebook.configuration.section import Section, Text

Targets = Literal["all-linear"] | tuple[Text, ...]


class Adapter(Section):
    """What every kind has. `title`: its name as people write it; `peft_config`: peft's class of its arguments."""

    title: ClassVar[str]
    peft_config: ClassVar[str]

    modules_to_save: tuple[Text, ...] = Field((), description="modules that are trained whole, beside the adapter")


class LayerAdapter(Adapter):
    """What kinds have that change linear layers."""

    target_modules: Targets = Field("all-linear", description="modules that get an adapter")


class PromptAdapter(Adapter):
    """What kinds have that put something trained before the input."""

    num_virtual_tokens: int = Field(20, ge=1, le=4096, description="trained vectors, or positions, before the input")


class Lora(LayerAdapter):
    """LoRA (Hu et al. 2022), named as peft's LoraConfig."""

    title: ClassVar = "LoRA"
    peft_config: ClassVar = "LoraConfig"

    r: int = Field(16, ge=1, le=1024, description="rank")
    lora_alpha: float = Field(32, gt=0, description="scale: the update counts lora_alpha / r times")
    lora_dropout: float = Field(0.05, ge=0, lt=1)
    target_parameters: tuple[Text, ...] = Field(
        (),
        description="parameters outside of layers that get an adapter, such as experts.gate_up_proj; lora_dropout must be 0",
    )
    bias: Literal["none", "all", "lora_only"] = "none"
    use_dora: bool = Field(False, description="DoRA: a trained length for each row of a weight, beside its direction")
    use_rslora: bool = Field(False, description="rsLoRA: the update counts lora_alpha / sqrt(r) times")
    loraplus_lr_ratio: float | None = Field(
        None, ge=1, description="LoRA+: matrices B learn at so many times learning_rate; null: at the same rate"
    )
    init_lora_weights: Literal[True, "pissa", "olora"] = Field(
        True, description="how the two matrices start; true: B at zero, so that the output is the base's"
    )


class IA3(Adapter):
    """IA3 (Liu et al. 2022): a trained factor for each output of a layer or, of a feed-forward layer, for each input."""

    title: ClassVar = "IA3"
    peft_config: ClassVar = "IA3Config"

    target_modules: tuple[Text, ...] | None = Field(
        None,
        description="modules that get factors; null: peft's list for the model, keys, values and the last feed-forward layer",
    )
    feedforward_modules: tuple[Text, ...] | None = Field(
        None, description="those of target_modules whose inputs are scaled; given where target_modules is"
    )


class Vera(LayerAdapter):
    """VeRA (Kopiczko et al. 2024): two random matrices that all layers share, and two trained vectors a layer."""

    title: ClassVar = "VeRA"
    peft_config: ClassVar = "VeraConfig"

    r: int = Field(256, ge=1, le=16_384, description="rank of the shared matrices")
    vera_dropout: float = Field(0.0, ge=0, lt=1)
    d_initial: float = Field(0.1, gt=0, description="what the vector between the matrices starts at")
    projection_prng_key: int = Field(0, ge=0, description="seed of the shared matrices")


class RandLora(LayerAdapter):
    """RandLoRA (Albert et al. 2025): an update of full rank, from shared random matrices and trained diagonals."""

    title: ClassVar = "RandLoRA"
    peft_config: ClassVar = "RandLoraConfig"

    r: int = Field(32, ge=1, le=1024, description="rank of each random matrix; a smaller one trains more")
    randlora_alpha: int = Field(640, ge=1, description="scale: the update counts randlora_alpha / r times")
    randlora_dropout: float = Field(0.0, ge=0, lt=1)
    projection_prng_key: int = Field(0, ge=0, description="seed of the random matrices")


class Oft(LayerAdapter):
    """OFT (Qiu et al. 2023): the inputs of a layer are rotated, block by block."""

    title: ClassVar = "OFT"
    peft_config: ClassVar = "OFTConfig"

    oft_block_size: int = Field(
        32, ge=2, le=4096, description="inputs that are rotated together; it divides those of each layer"
    )
    module_dropout: float = Field(0.0, ge=0, lt=1, description="share of the blocks that are left out of a step")
    coft: bool = Field(False, description="constrained OFT: rotations stay within eps")
    eps: float = Field(6e-5, gt=0, description="of coft")
    block_share: bool = Field(False, description="one rotation for all blocks of a layer")
    use_cayley_neumann: bool = Field(True, description="invert by a series: faster, and orthogonal up to rounding")
    num_cayley_neumann_terms: int = Field(5, ge=1, le=100, description="terms of the series")


class LNTuning(Adapter):
    """LayerNorm tuning (Zhao et al. 2024): the weights and biases of normalisation layers."""

    title: ClassVar = "LayerNorm tuning"
    peft_config: ClassVar = "LNTuningConfig"

    target_modules: tuple[Text, ...] | None = Field(
        None, description="normalisation layers to train; null: all of the model's"
    )


class PromptTuning(PromptAdapter):
    """Prompt tuning (Lester et al. 2021): trained vectors before the embedded input."""

    title: ClassVar = "prompt tuning"
    peft_config: ClassVar = "PromptTuningConfig"

    prompt_tuning_init: Literal["RANDOM", "SAMPLE_VOCAB"] = Field(
        "SAMPLE_VOCAB", description="what they start at: random numbers, or embeddings of random tokens"
    )


class PrefixTuning(PromptAdapter):
    """Prefix tuning (Li & Liang 2021): trained keys and values before those of the input, in each layer."""

    title: ClassVar = "prefix tuning"
    peft_config: ClassVar = "PrefixTuningConfig"

    prefix_projection: bool = Field(False, description="make them by a small network, which is trained")
    encoder_hidden_size: int | None = Field(
        None, ge=1, le=65_536, description="width of that network; null: the model's"
    )


class PTuning(PromptAdapter):
    """P-tuning (Liu et al. 2021): vectors before the embedded input, made by a small network that is trained."""

    title: ClassVar = "p-tuning"
    peft_config: ClassVar = "PromptEncoderConfig"

    encoder_reparameterization_type: Literal["MLP", "LSTM"] = "MLP"
    encoder_hidden_size: int | None = Field(
        None, ge=1, le=65_536, description="width of the network; null: the model's"
    )


ADAPTERS: dict[str, type[Adapter]] = {
    "lora": Lora,
    "ia3": IA3,
    "vera": Vera,
    "randlora": RandLora,
    "oft": Oft,
    "ln_tuning": LNTuning,
    "prompt_tuning": PromptTuning,
    "prefix_tuning": PrefixTuning,
    "p_tuning": PTuning,
}
AdapterKind = Literal[tuple(ADAPTERS)]
PROMPTS = tuple(kind for kind, section in ADAPTERS.items() if issubclass(section, PromptAdapter))


def adapter_spec(kind: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """What run.json holds of an adapter: its kind and all its arguments, defaults filled in. Raises pydantic's ValidationError."""
    return {"kind": kind, **ADAPTERS[kind].model_validate(dict(arguments)).model_dump(mode="json")}


def arguments_for(kind: str, shared: Lora) -> dict[str, Any]:
    """What of an experiment's adapter arguments, which are LoRA's, holds for a method of another kind too.

    Names of modules that the experiment states hold for all kinds that change linear layers; a rank or a dropout means something
    else in each.
    """
    if kind == "lora":
        return shared.model_dump(mode="json")
    keys = ("target_modules", "modules_to_save") if issubclass(ADAPTERS[kind], LayerAdapter) else ("modules_to_save",)
    return {
        key: value
        for key, value in shared.model_dump(mode="json", include=shared.model_fields_set).items()
        if key in keys
    }
