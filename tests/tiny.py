"""Models and tokenizers of a few hundred kilobytes, built in code, and a study that uses them. No network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

WORDS = [
    "the",
    "a",
    "of",
    "and",
    "to",
    "in",
    "is",
    "it",
    "you",
    "that",
    "he",
    "was",
    "for",
    "on",
    "are",
    "with",
    "as",
    "his",
    "they",
    "be",
    "at",
    "one",
    "have",
    "this",
    "from",
    "or",
    "had",
    "by",
    "hot",
    "but",
    "some",
    "what",
    "there",
    "we",
    "can",
    "out",
    "other",
    "were",
    "all",
    "your",
    "when",
    "up",
    "use",
    "word",
    "how",
    "said",
    "an",
    "each",
    "she",
    "which",
    "do",
    "their",
    "time",
    "if",
    "will",
    "way",
    "about",
    "many",
    "then",
    "them",
    "would",
    "write",
    "like",
    "so",
    "these",
    "her",
    "long",
    "make",
    "thing",
    "see",
    "him",
    "two",
    "has",
    "look",
    "more",
    "day",
    "could",
    "go",
    "come",
    "did",
    "my",
    "sound",
    "no",
    "most",
    "number",
    "who",
    "over",
    "know",
    "water",
    "than",
    "call",
    "first",
    "people",
    "may",
    "down",
    "side",
    "been",
    "now",
    "find",
    "profit",
    "rose",
    "fell",
    "unchanged",
    "sales",
    "positive",
    "negative",
    "neutral",
]
CHAT_TEMPLATE = (
    "{% for m in messages %}<s>{{ m['role'] }} {{ m['content'] }}</s>{% endfor %}"
    "{% if add_generation_prompt %}<s>assistant {% endif %}"
)
SIZE = 64  # nf4 packs blocks of 64 weights of a row


LORA = {  # the smallest adapter of a run.json
    "kind": "lora",
    "r": 2,
    "lora_alpha": 2,
    "lora_dropout": 0.0,
    "bias": "none",
    "target_modules": ["q_proj"],
    "target_parameters": [],
    "modules_to_save": [],
    "use_dora": False,
    "use_rslora": False,
    "loraplus_lr_ratio": None,
    "init_lora_weights": True,
}


def tokenizer(folder: Path, *, chat_template: str | None = None, bert: bool = False, surrounded: bool = False) -> Any:
    """A word-level tokenizer with the special tokens of its family; pad is a token of its own. `surrounded`: it puts <s>
    before and </s> behind every text, as BERT's or one with add_eos_token."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    special = ["<unk>", "<pad>", "<s>", "</s>"]
    vocabulary = {word: number for number, word in enumerate([*special, *WORDS, *".,:-?!0123456789"])}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    if surrounded:
        ends = [(token, vocabulary[token]) for token in ("<s>", "</s>")]
        words.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=ends)
    names = {"unk_token": "<unk>", "pad_token": "<pad>"}
    names |= {"cls_token": "<s>", "sep_token": "</s>"} if bert else {"bos_token": "<s>", "eos_token": "</s>"}
    built = PreTrainedTokenizerFast(tokenizer_object=words, model_max_length=512, **names)
    built.chat_template = chat_template
    built.save_pretrained(folder)
    return built


def byte_tokenizer(
    folder: Path, chat_template: str | None, *, special: tuple[str, ...] = (), eos: str | None = None
) -> Any:
    """A tokenizer of single bytes and special tokens, saved, so that any chat template can be written in it. `special`:
    tokens beside <pad>, <s>, </s> and <unk>; `eos`: the token that ends a text, by default the last of them."""
    from transformers import AutoTokenizer

    from tunebook.finetuning.random_weights import write_tokenizer

    write_tokenizer(folder)
    built = AutoTokenizer.from_pretrained(folder)
    built.add_special_tokens({"additional_special_tokens": list(special)})
    built.eos_token = eos or [built.eos_token, *special][-1]
    built.chat_template = chat_template
    built.save_pretrained(folder)
    return built


def model(folder: Path, family: str, *, seed: int = 0) -> Path:
    """A model of a family with random weights and its tokenizer, saved as a hub would have it."""
    import torch
    import transformers as t

    torch.manual_seed(seed)
    words = tokenizer(folder, bert=family == "bert")
    size = SIZE
    shared = {"vocab_size": len(words), "pad_token_id": 1, "bos_token_id": 2, "eos_token_id": 3}
    if family == "llama":
        shape = {"hidden_size": size, "intermediate_size": 2 * size, "num_hidden_layers": 2, "num_attention_heads": 2}
        built = t.LlamaForCausalLM(t.LlamaConfig(**shape, **shared, tie_word_embeddings=True))
    elif family == "falcon":
        built = t.FalconForCausalLM(
            t.FalconConfig(hidden_size=size, num_hidden_layers=2, num_attention_heads=2, **shared)
        )
    elif family == "opt":
        shape = {"hidden_size": size, "ffn_dim": 2 * size, "num_hidden_layers": 2, "num_attention_heads": 2}
        built = t.OPTForCausalLM(t.OPTConfig(**shape, word_embed_proj_dim=size, max_position_embeddings=64, **shared))
    elif family == "t5":
        shape = {"d_model": size, "d_kv": 32, "d_ff": 2 * size, "num_layers": 2, "num_heads": 2}
        built = t.T5ForConditionalGeneration(t.T5Config(**shape, decoder_start_token_id=1, **shared))
    else:
        shape = {"hidden_size": size, "intermediate_size": 2 * size, "num_hidden_layers": 2, "num_attention_heads": 2}
        built = t.BertModel(t.BertConfig(**shape, vocab_size=len(words), pad_token_id=1))
    built.save_pretrained(folder)
    return folder


def in_pickled_parts(folder: Path) -> None:
    """Turn a saved model's safetensors into two pickled parts with an index, as older models of the hub have them."""
    import torch
    from safetensors.torch import load_file

    tensors = load_file(folder / "model.safetensors")
    names, weight_map = sorted(tensors), {}
    for number, chosen in enumerate((names[::2], names[1::2]), start=1):
        part = f"pytorch_model-0000{number}-of-00002.bin"
        torch.save({name: tensors[name] for name in chosen}, folder / part)
        weight_map |= dict.fromkeys(chosen, part)
    index = {"metadata": {}, "weight_map": weight_map}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index), encoding="utf-8")
    (folder / "model.safetensors").unlink()


def talk(*texts: str) -> list[dict[str, str]]:
    """Messages of a split file: user and assistant in turn."""
    return [{"role": ("user", "assistant")[number % 2], "content": text} for number, text in enumerate(texts)]


def texts(count: int) -> list[dict[str, str]]:
    """Rows of {text, label}, all different, from the tokenizer's words."""
    labels = {"rose": "positive", "fell": "negative", "unchanged": "neutral"}
    rows = []
    for number in range(count):
        moved = list(labels)[number % 3]
        words = [WORDS[(number * 7 + place * place * 3) % 100] for place in range(4 + number % 5)]
        rows.append({"text": f"profit {moved} {' '.join(words)} {number % 10} {number // 10}", "label": labels[moved]})
    return rows


def study(folder: Path, *, family: str = "llama", rows: int = 60, **experiment: Any) -> dict[str, Any]:
    """A tiny study below `folder`: its model and data written there, its config returned."""
    model(folder / "model", family)
    lines = "\n".join(json.dumps(row) for row in texts(rows)) + "\n"
    (folder / "rows.jsonl").write_text(lines, encoding="utf-8")
    task = {"t5": "seq2seq-lm", "bert": "sequence-classification"}.get(family, "causal-lm")
    training = {
        "learning_rate": 0.01,
        "max_steps": 6,
        "per_device_train_batch_size": 4,
        "evals_per_epoch": 3,
        "max_length": 32,
    }
    return {
        "study": "tiny",
        "title": "A tiny study",
        "models": {
            "tiny": {"task": task, "source": {"type": "path", "path": str(folder / "model")}, "licence": "none"}
        },
        "datasets": {
            "lines": {
                "source": {"type": "path", "path": str(folder / "rows.jsonl")},
                "format": {"type": "jsonl"},
                "prompt": "{{ text }}",
                "completion": "{{ label }}",
                "label": "label",
                "labels": ["negative", "neutral", "positive"],
                "near_duplicate_threshold": 0.95,
                "split": {"validation": 10, "test": 12},
                "licence": "none",
            }
        },
        "experiments": {
            "words": {
                "title": "Words",
                "dataset": "lines",
                "model": "tiny",
                "methods": ["lora"],
                "training": training,
                "generation": {"max_new_tokens": 4, "heldout_samples": 1},
                "prompts": ["profit rose"],
                **experiment,
            }
        },
    }
