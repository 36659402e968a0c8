"""The families of models whose cost can be told from their config: llama, opt, falcon, t5, bert, and encoder-decoders of bert.

Each plays one forward pass of (batch, length) tokens on a Tape, as transformers 5.23 computes it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tunebook.cost.tape import FLOAT, Setting, Tape, Value, Weight
from tunebook.errors import TunebookError
from tunebook.finetuning.names import DROPOUTS, positions_at_a_time


@dataclass(frozen=True)
class Batch:
    """`rows` of `length` tokens; `target`: tokens of an encoder-decoder's target."""

    rows: int
    length: int
    target: int = 0


@dataclass(frozen=True)
class Trace:
    """A tape that was played, and the loss's part: predictions (rows of logits at a time) and the vocabulary they are over."""

    tape: Tape
    predictions: int
    vocabulary: int


def play(config: dict[str, Any], setting: Setting, batch: Batch, *, encoder_decoder: bool = False) -> Trace:
    """The forward pass of a model of `config` (keys of config.json) on a batch.

    Raises TunebookError for a family that is not known here.
    """
    kind = config["model_type"]
    tape = Tape(setting)
    if setting.dropout is not None:
        config = {**config, **dict.fromkeys(DROPOUTS, setting.dropout)}
    if encoder_decoder and kind == "bert":
        config = {"encoder": config, "decoder": {**config, "is_decoder": True}}
        kind = "encoder-decoder"
    if kind == "encoder-decoder":
        if {config["encoder"].get("model_type"), config["decoder"].get("model_type")} != {"bert"}:
            raise TunebookError("an encoder-decoder of other parts than bert")
        predictions, vocabulary = _bert2bert(tape, config["encoder"], config["decoder"], batch)
        return Trace(tape, predictions, vocabulary)
    if kind not in FAMILIES:
        raise TunebookError(
            f"models of type {kind} are not known to the estimate, which knows {', '.join(FAMILIES)} and encoder-decoders of "
            "bert; rehearse the run instead"
        )
    predictions, vocabulary = FAMILIES[kind](tape, config, batch)
    return Trace(tape, predictions, vocabulary)


def _head(tape: Tape, x: Value, width: int, vocabulary: int, batch: Batch, *, tied: Weight | None) -> tuple[int, int]:
    """The output layer of a causal model: over the vocabulary, or over labels."""
    if tape.setting.task == "sequence-classification":
        tape.linear("score", x, width, tape.setting.labels, bias=False, quantizable=False, output=True)
        return batch.rows, tape.setting.labels
    tape.linear("lm_head", x, width, vocabulary, bias=False, quantizable=False, output=True, tied=tied)
    if x.grad:  # the loss leaves its gradient at each position, and that of the layer's weight where it is trained
        tape.keep_new(x.elements, x.size)
        weight = tied or next(weight for weight in tape.weights if weight.name == "lm_head.weight")
        if weight.trained:
            tape.keep_new(weight.elements, FLOAT)
    return min(batch.rows * batch.length, positions_at_a_time(vocabulary)), vocabulary


def _tied(tape: Tape, config: dict[str, Any]) -> Weight | None:
    """The input embedding, the first weight noted, if the output layer shares it."""
    return tape.weights[0] if config.get("tie_word_embeddings", True) else None


def _llama(tape: Tape, config: dict[str, Any], batch: Batch) -> tuple[int, int]:
    width, inner, heads = (config[key] for key in ("hidden_size", "intermediate_size", "num_attention_heads"))
    kv_heads = config.get("num_key_value_heads") or heads
    head = config.get("head_dim") or width // heads
    tokens = batch.rows * batch.length
    x = tape.embedding("model.embed_tokens.weight", config["vocab_size"], width, tokens)
    tied = _tied(tape, {"tie_word_embeddings": False, **config})
    biases = {"attention": config.get("attention_bias", False), "mlp": config.get("mlp_bias", False)}
    for number in range(config["num_hidden_layers"]):
        name = f"model.layers.{number}"
        with tape.layer(x):
            y = tape.rms_norm(f"{name}.input_layernorm", x, width)
            q, k, v = (
                tape.linear(f"{name}.self_attn.{part}", y, width, size * head, bias=biases["attention"])
                for part, size in (("q_proj", heads), ("k_proj", kv_heads), ("v_proj", kv_heads))
            )
            tape.cache(k, v)
            if kv_heads != heads:  # rows that differ in length have a mask, and with one keys and values are repeated
                k, v = (tape.value(tokens * heads * head, each.size, each.grad) for each in (k, v))
            y = tape.attention(q, k, v, share=0.0, fused=True, **_scores(batch, heads))
            y = tape.linear(f"{name}.self_attn.o_proj", y, heads * head, width, bias=biases["attention"])
            x = tape.add(x, y)
            y = tape.rms_norm(f"{name}.post_attention_layernorm", x, width)
            gate, up = (
                tape.linear(f"{name}.mlp.{part}", y, width, inner, bias=biases["mlp"])
                for part in ("gate_proj", "up_proj")
            )
            y = tape.multiply(tape.activation("silu", gate), up)
            x = tape.add(x, tape.linear(f"{name}.mlp.down_proj", y, inner, width, bias=biases["mlp"]))
    return _head(tape, tape.rms_norm("model.norm", x, width), width, config["vocab_size"], batch, tied=tied)


def _scores(batch: Batch, heads: int) -> dict[str, int]:
    """Size of self-attention's score matrices."""
    rows = batch.rows * heads * batch.length
    return {"rows": rows, "scores": rows * batch.length}


def _opt(tape: Tape, config: dict[str, Any], batch: Batch) -> tuple[int, int]:
    width, heads, embedded = config["hidden_size"], config["num_attention_heads"], config.get("word_embed_proj_dim")
    if embedded not in (None, width) or not config.get("do_layer_norm_before", True):
        raise TunebookError("OPT with projected embeddings or with norms behind its layers (opt-350m) is not known")
    tokens, share = batch.rows * batch.length, config.get("dropout", 0.1)
    x = tape.embedding("model.decoder.embed_tokens.weight", config["vocab_size"], width, tokens)
    places = config.get("max_position_embeddings", 2048) + 2
    x = tape.add(x, tape.embedding("model.decoder.embed_positions.weight", places, width, tokens))
    tied = _tied(tape, config)
    for number in range(config["num_hidden_layers"]):
        name = f"model.decoder.layers.{number}"
        with tape.layer(x):
            y = tape.layer_norm(f"{name}.self_attn_layer_norm", x, width)
            k, v, q = (
                tape.linear(f"{name}.self_attn.{part}", y, width, width) for part in ("k_proj", "v_proj", "q_proj")
            )
            tape.cache(k, v)
            y = tape.attention(q, k, v, share=config.get("attention_dropout", 0.0), fused=True, **_scores(batch, heads))
            y = tape.linear(f"{name}.self_attn.out_proj", y, width, width)
            x = tape.add(x, tape.dropout(y, share))
            y = tape.linear(
                f"{name}.fc1", tape.layer_norm(f"{name}.final_layer_norm", x, width), width, config["ffn_dim"]
            )
            y = tape.activation(config.get("activation_function", "relu"), y)
            x = tape.add(x, tape.dropout(tape.linear(f"{name}.fc2", y, config["ffn_dim"], width), share))
    x = tape.layer_norm("model.decoder.final_layer_norm", x, width)
    return _head(tape, x, width, config["vocab_size"], batch, tied=tied)


def _falcon(tape: Tape, config: dict[str, Any], batch: Batch) -> tuple[int, int]:
    """Falcon with parallel attention (7B). Its one head of keys and values serves all queries, which no fused kernel
    takes: the scores are written out."""
    width, heads = config["hidden_size"], config["num_attention_heads"]
    if config.get("new_decoder_architecture") or config.get("alibi") or not config.get("parallel_attn", True):
        raise TunebookError("Falcon with the new decoder, alibi or serial attention is not known; Falcon-7B is")
    multi, bias, head = config.get("multi_query", True), config.get("bias", False), width // heads
    inner = config.get("ffn_hidden_size") or 4 * width
    tokens, shares = (
        batch.rows * batch.length,
        (config.get("attention_dropout", 0.0), config.get("hidden_dropout", 0.0)),
    )
    x = tape.embedding("transformer.word_embeddings.weight", config["vocab_size"], width, tokens)
    tied = _tied(tape, config)
    for number in range(config["num_hidden_layers"]):
        name = f"transformer.h.{number}"
        with tape.layer(x):
            y = tape.layer_norm(f"{name}.input_layernorm", x, width)
            fused = width + 2 * head if multi else 3 * width
            qkv = tape.linear(f"{name}.self_attention.query_key_value", y, width, fused, bias=bias)
            q, k, v = (tape.value(tokens * width, qkv.size, qkv.grad) for _ in range(3))
            tape.cache(*[tape.value(tokens * head * (1 if multi else heads), qkv.size, qkv.grad)] * 2)
            z = tape.attention(q, k, v, share=0.0, fused=not multi, **_scores(batch, heads))
            z = tape.linear(f"{name}.self_attention.dense", z, width, width, bias=bias)
            y = tape.activation("gelu", tape.linear(f"{name}.mlp.dense_h_to_4h", y, width, inner, bias=bias))
            y = tape.add(tape.linear(f"{name}.mlp.dense_4h_to_h", y, inner, width, bias=bias), z)
            x = tape.add(tape.dropout(y, shares[1]), x)
    x = tape.layer_norm("transformer.ln_f", x, width)
    return _head(tape, x, width, config["vocab_size"], batch, tied=tied)


def _t5(tape: Tape, config: dict[str, Any], batch: Batch) -> tuple[int, int]:
    if tape.setting.task != "seq2seq-lm":
        raise TunebookError("t5 with another head than that of seq2seq-lm is not known")
    width, vocabulary = config["d_model"], config["vocab_size"]
    share = config.get("dropout_rate", 0.1)
    source, target = batch.rows * batch.length, batch.rows * batch.target
    x = tape.embedding("shared.weight", vocabulary, width, source)
    shared = tape.weights[0]
    memory = _t5_stack(tape, config, "encoder", tape.dropout(x, share), batch, memory=None)
    y = tape.dropout(tape.value(target * width, x.size, x.grad), share)
    y = _t5_stack(tape, config, "decoder", y, batch, memory=memory)
    tied = shared if config.get("tie_word_embeddings", True) else None
    tape.linear("lm_head", y, width, vocabulary, bias=False, quantizable=False, output=True, tied=tied)
    return target, vocabulary


def _t5_stack(tape: Tape, config: dict[str, Any], side: str, x: Value, batch: Batch, *, memory: Value | None) -> Value:
    width, heads, inner, share = config["d_model"], config["num_heads"], config["d_ff"], config.get("dropout_rate", 0.1)
    decodes = memory is not None
    queries = batch.target if decodes else batch.length
    layers = (config.get("num_decoder_layers") or config["num_layers"]) if decodes else config["num_layers"]
    for number in range(layers):
        name = f"{side}.block.{number}.layer"
        with tape.layer(x):
            if number == 0:
                buckets = config.get("relative_attention_num_buckets", 32)
                tape.weight(f"{name}.0.SelfAttention.relative_attention_bias.weight", buckets, heads)
            y = tape.rms_norm(f"{name}.0.layer_norm", x, width)
            rows = batch.rows * heads * queries
            y = _t5_attention(tape, config, f"{name}.0.SelfAttention", y, y, rows, queries, cached=decodes)
            x = tape.add(x, tape.dropout(y, share))
            if decodes:
                y = tape.rms_norm(f"{name}.1.layer_norm", x, width)
                y = _t5_attention(tape, config, f"{name}.1.EncDecAttention", y, memory, rows, batch.length, cached=True)
                x = tape.add(x, tape.dropout(y, share))
            part = f"{name}.{2 if decodes else 1}"
            y = tape.rms_norm(f"{part}.layer_norm", x, width)
            y = _t5_feed_forward(tape, config, f"{part}.DenseReluDense", y, width, inner, share)
            x = tape.add(x, tape.dropout(y, share))
    return tape.dropout(tape.rms_norm(f"{side}.final_layer_norm", x, width), share)


def _t5_attention(tape, config, name: str, x: Value, memory: Value, rows: int, keys: int, *, cached: bool) -> Value:
    width, inner = config["d_model"], config["num_heads"] * config["d_kv"]
    q = tape.linear(f"{name}.q", x, width, inner, bias=False)
    k = tape.linear(f"{name}.k", memory, width, inner, bias=False)
    v = tape.linear(f"{name}.v", memory, width, inner, bias=False)
    if cached:
        tape.cache(k, v)
    share = config.get("dropout_rate", 0.1)
    y = tape.attention(q, k, v, scores=rows * keys, rows=rows, share=share, fused=True)
    return tape.linear(f"{name}.o", y, inner, width, bias=False)


def _t5_feed_forward(tape, config, name: str, x: Value, width: int, inner: int, share: float) -> Value:
    """`wo` stays in float32 and unquantized, by transformers' own choice."""
    kind = config.get("feed_forward_proj", "relu")
    if kind == "gated-gelu":
        y = tape.activation("gelu_new", tape.linear(f"{name}.wi_0", x, width, inner, bias=False))
        y = tape.multiply(y, tape.linear(f"{name}.wi_1", x, width, inner, bias=False))
    else:
        y = tape.activation("relu", tape.linear(f"{name}.wi", x, width, inner, bias=False))
    return tape.linear(f"{name}.wo", tape.dropout(y, share), inner, width, bias=False, quantizable=False)


def _bert_embeddings(tape: Tape, config: dict[str, Any], name: str, tokens: int) -> Value:
    width = config["hidden_size"]
    x = tape.embedding(f"{name}.word_embeddings.weight", config["vocab_size"], width, tokens)
    kinds = config.get("type_vocab_size", 2)
    x = tape.add(x, tape.embedding(f"{name}.token_type_embeddings.weight", kinds, width, tokens))
    places = config.get("max_position_embeddings", 512)
    x = tape.add(x, tape.embedding(f"{name}.position_embeddings.weight", places, width, tokens))
    x = tape.layer_norm(f"{name}.LayerNorm", x, width)
    return tape.dropout(x, config.get("hidden_dropout_prob", 0.1))


def _bert_attention(tape, config, name: str, x: Value, memory: Value, rows: int, keys: int, *, cached: bool) -> Value:
    width, share = config["hidden_size"], config.get("attention_probs_dropout_prob", 0.1)
    q = tape.linear(f"{name}.self.query", x, width, width)
    k = tape.linear(f"{name}.self.key", memory, width, width)
    v = tape.linear(f"{name}.self.value", memory, width, width)
    if cached:
        tape.cache(k, v)
    y = tape.attention(q, k, v, scores=rows * keys, rows=rows, share=share, fused=True)
    return _bert_output(tape, config, f"{name}.output", y, x, width)


def _bert_output(tape: Tape, config: dict[str, Any], name: str, y: Value, x: Value, width: int) -> Value:
    y = tape.linear(f"{name}.dense", y, width, config["hidden_size"])
    y = tape.add(tape.dropout(y, config.get("hidden_dropout_prob", 0.1)), x)
    return tape.layer_norm(f"{name}.LayerNorm", y, config["hidden_size"])


def _bert_stack(tape: Tape, config, prefix: str, batch: Batch, length: int, memory: Value | None) -> Value:
    inner, heads = config["intermediate_size"], config["num_attention_heads"]
    x = _bert_embeddings(tape, config, f"{prefix}embeddings", batch.rows * length)
    for number in range(config["num_hidden_layers"]):
        name = f"{prefix}encoder.layer.{number}"
        rows = batch.rows * heads * length
        with tape.layer(x):
            decodes = memory is not None
            x = _bert_attention(tape, config, f"{name}.attention", x, x, rows, length, cached=decodes)
            if decodes:
                x = _bert_attention(tape, config, f"{name}.crossattention", x, memory, rows, batch.length, cached=True)
            y = tape.linear(f"{name}.intermediate.dense", x, config["hidden_size"], inner)
            x = _bert_output(tape, config, f"{name}.output", tape.activation("gelu", y), x, inner)
    return x


def _bert2bert(tape: Tape, encoder: dict[str, Any], decoder: dict[str, Any], batch: Batch) -> tuple[int, int]:
    """An encoder and a decoder with cross-attention, assembled (transformers' EncoderDecoderModel)."""
    memory = _bert_stack(tape, encoder, "encoder.", batch, batch.length, None)
    _pooler(tape, encoder, "encoder.pooler", batch, memory, used=False)
    first = len(tape.weights)
    x = _bert_stack(tape, decoder, "decoder.bert.", batch, batch.target, memory)
    width, vocabulary = decoder["hidden_size"], decoder["vocab_size"]
    x = tape.activation("gelu", tape.linear("decoder.cls.predictions.transform.dense", x, width, width))
    x = tape.layer_norm("decoder.cls.predictions.transform.LayerNorm", x, width)
    tied = tape.weights[first]
    tape.linear("decoder.cls.predictions.decoder", x, width, vocabulary, output=True, quantizable=False, tied=tied)
    return batch.rows * batch.target, vocabulary


def _pooler(tape: Tape, config: dict[str, Any], name: str, batch: Batch, x: Value, *, used: bool) -> Value:
    """The layer over the first token. An assembled model computes it and has no use for it."""
    width = config["hidden_size"]
    first = tape.value(batch.rows * width, x.size, x.grad and used)
    return tape.linear(f"{name}.dense", first, width, width)


def _bert(tape: Tape, config: dict[str, Any], batch: Batch) -> tuple[int, int]:
    if tape.setting.task != "sequence-classification":
        raise TunebookError(
            "bert alone answers with labels only: task sequence-classification, or encoder_decoder: true"
        )
    x = _bert_stack(tape, config, "bert.", batch, batch.length, None)
    pooled = tape.dropout(
        _pooler(tape, config, "bert.pooler", batch, x, used=True), config.get("hidden_dropout_prob", 0.1)
    )
    tape.linear("classifier", pooled, config["hidden_size"], tape.setting.labels, quantizable=False, output=True)
    return batch.rows, tape.setting.labels


FAMILIES = {"llama": _llama, "opt": _opt, "falcon": _falcon, "t5": _t5, "bert": _bert}
