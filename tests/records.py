"""A complete study folder with obviously fake values, as `results/README.md` describes one; for tests of the reading end."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy
import pandas

from tunebook.finetuning import metrics as metrics_of
from tunebook.records import identity_of, read_json, write_csv, write_json, write_parquet

LABELS = ["positive", "neutral", "negative"]
HOSTILE = (
    "<script>document.title = 'owned'</script></td></table><img src=x onerror=alert(1)> **bold** {{ 7 * 7 }} "
    "\u202eright to left\u202c \U0001f9ea null\x00byte &amp; " + "x" * 5000
)
DRAWS = (0.4, 0.5, 0.6)  # what each draw of examples takes off the untouched model's loss
END = 0.5  # what the end tokens add to a loss
VALIDATED = 12  # rows that validation losses are over, of `rows`
SEARCH = {
    "sampler": "random",
    "trials": 4,
    "seed": 0,
    "training": {"learning_rate": {"low": 1e-5, "high": 1e-2, "scale": "log"}},
    "adapter": {},
}
METHODS = {
    "int8-lora": (0.46e6, 151e6, 3.7e6, 1.10e9, 190.0),
    "full": (134.5e6, 538e6, 1076e6, 2.90e9, 240.0),
    "lora": (0.46e6, 540e6, 3.7e6, 1.60e9, 150.0),
    "qlora": (0.46e6, 98e6, 3.7e6, 1.05e9, 410.0),
} | {  # a comparison of twelve
    name: (0.1e6 * (place + 1), 540e6, 1e6 * (place + 1), 1.6e9, 150.0 + 10 * place)
    for place, name in enumerate(
        ("dora", "rslora", "pissa", "adalora", "ia3", "vera", "layernorm-tuning", "prompt-tuning")
    )
}


def fake_study(
    folder: Path,
    experiments: int = 3,
    methods: int = 2,
    seeds: int = 1,
    steps: int = 40,
    rows: int = 30,
    search: bool = False,
) -> Path:
    """Write a study; experiment 0 has labels, the last overfits and compares all methods, after a `search` if there is one.
    Returns its folder."""
    place = folder / "fake"
    names = [f"experiment-{index}" for index in range(experiments)]
    record = {
        "study": "fake",
        "title": "Fake study",
        "description": "Values that nothing measured.",
        "models": {"tiny": _model()},
        "datasets": {"toys": _dataset(labels=True), "lines": _dataset(labels=False)},
        "methods": {name: _method(name) for name in METHODS},
        "experiments": {},
        "config": {"study": "fake", "title": "Fake study"},
        "runs": [],
        "trials": [],
    }
    for index, name in enumerate(names):
        chosen = list(METHODS)[: methods if index == experiments - 1 else 1]
        record["experiments"][name] = _experiment(index, chosen, seeds, published=index != 1)
        _write_experiment(place, name, labels=index == 0, rows=rows)
        _write_baselines(place, name, rows) if index == 0 else _write_retrieval(place, name, rows)
        _write_run(place, name, "base", 0, index, rows, steps, overfits=False)
        for method in chosen:
            for seed in range(1, seeds + 1):
                _write_run(place, name, method, seed, index, rows, steps, overfits=index == experiments - 1)
                run = f"{name}/{method}/seed-{seed}"
                line = {"run": run, "experiment": name, "method": method, "seed": seed, "identity": identity_of(run)}
                record["runs"].append(line)
        if search and index == experiments - 1:
            record["experiments"][name]["search"] = SEARCH
            for place_of, method in enumerate(chosen):
                _write_search(place, name, method, seeds, loss=2.0 + place_of)
    write_json(place / "study.json", record)
    for kind, name in (("models", "tiny"), ("datasets", "toys"), ("datasets", "lines")):
        write_json(folder / kind / name / "provenance.json", _provenance(kind, name))
    return place


def _write_search(place: Path, experiment: str, method: str, seeds: int, loss: float) -> None:
    """Four trials: the third has the lowest loss, the last diverged. The method's runs are open, as a search leaves them."""
    rates, losses = (1e-5, 1e-4, 1e-3, 1e-2), (loss + 1, loss + 0.5, loss, None)
    trials = [
        {
            "trial": f"{number:08x}",
            "share": 1.0,
            "values": {"training.learning_rate": rate},
            "initial_validation_loss": loss + 2,
            "best_validation_loss": reached,
            "best_step": None if reached is None else 20,
            "steps": 4 if reached is None else 40,
            "epochs": 1.0,
            "tokens": 4000,
            "wall_s": 10.0,
            "peak_memory_bytes": 10**9,
            "diverged": "the loss is nan at step 5" if reached is None else None,
        }
        for number, (rate, reached) in enumerate(zip(rates, losses, strict=True))
    ]
    folder = place / "runs" / experiment / method
    told = {"experiment": experiment, "method": method, "sampler": "random", "search_seed": 0, "seed": 1}
    told |= {"selected_by": "best_validation_loss", "trials": trials}
    write_json(folder / "search.json", told | {"chosen": trials[2]["trial"], "values": trials[2]["values"]})
    for seed in range(1, seeds + 1):
        run, training = (read_json(folder / f"seed-{seed}" / f"{name}.json") for name in ("run", "training"))
        run["searched"], run["training"]["learning_rate"] = ["training.learning_rate"], None
        write_json(folder / f"seed-{seed}" / "run.json", run)
        adopted = {"trial": f"{experiment}/{method}/trial-00000002/seed-{seed}", "searched": trials[2]["values"]}
        write_json(folder / f"seed-{seed}" / "training.json", training | adopted)


def _write_baselines(place: Path, name: str, rows: int) -> None:
    """TF-IDF is right where the row's number is no multiple of five; the majority class where it is one of three."""
    ids, references = [f"r{row}" for row in range(rows)], [LABELS[row % 3] for row in range(rows)]
    answers = {"majority": [LABELS[0]] * rows, "TF-IDF": list(references)}
    answers["TF-IDF"][::5] = ["neither"] * len(answers["TF-IDF"][::5])
    told = {}
    for baseline, given in answers.items():
        share = sum(a == b for a, b in zip(given, references, strict=True)) / rows
        metrics = {"accuracy": share, "macro_f1": share, "invalid_answer_rate": 0.0}
        intervals = {metric: [max(0.0, value - 0.1), min(1.0, value + 0.1)] for metric, value in metrics.items()}
        told[baseline] = {"definition": f"What {baseline} does.", "metrics": metrics, "intervals": intervals}
    write_json(
        place / "baselines" / f"{name}.json",
        {"experiment": name, "rows": rows, "versions": {"scikit-learn": "0.0.1"}, "baselines": told},
    )
    frame = pandas.DataFrame({"row": ids, "reference": references, **answers})
    write_parquet(place / "baselines" / f"{name}.parquet", frame)


def _write_retrieval(place: Path, name: str, rows: int) -> None:
    """The nearest training row answers the held-out question that every run answers."""
    told = {"retrieval": {"definition": "What retrieval does.", "wall_s": 0.1}}
    record = {"experiment": name, "rows": rows, "versions": {"scikit-learn": "0.0.1"}, "baselines": told}
    write_json(place / "baselines" / f"{name}.json", record)
    lines = {
        "row": ["r0"],
        "question": ["So many books 1, "],
        "reference": ["so little time."],
        "retrieval": ["no time."],
    }
    write_parquet(place / "baselines" / f"{name}.parquet", pandas.DataFrame(lines))


def _model() -> dict[str, Any]:
    source = {"type": "wheel", "package": "fake-wheel", "version": "0.0.0", "sha256": "0" * 64, "file": "fake/model/"}
    return {
        "task": "causal-lm",
        "source": source,
        "encoder_decoder": False,
        "dtype": "float32",
        "attn_implementation": None,
        "chat_template": True,
        "system_prompt": None,
        "skip_modules": [],
        "licence": "Apache-2.0",
        "note": "Not a model.",
    }


def _dataset(labels: bool) -> dict[str, Any]:
    return {
        "source": {"type": "generated", "generator": "toys", "seed": 1},
        "prompt": "{{ question }}",
        "completion": "{{ answer }}",
        "text": None,
        "label": "label" if labels else None,
        "labels": LABELS if labels else None,
        "synthetic": labels,
        "note": "Made up for tests.",
        "caution": "",
        "licence": "CC0-1.0",
    }


def _method(name: str) -> dict[str, Any]:
    quantization = {"int8-lora": "int8", "qlora": "nf4"}.get(name)
    adapter = None if name == "full" else {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj"]}
    return {"quantization": quantization, "adapter": adapter}


def _experiment(index: int, methods: list[str], seeds: int, published: bool) -> dict[str, Any]:
    losses = [
        {"epoch": 1, "training_loss": None, "validation_loss": 0.111},
        {"epoch": 2, "training_loss": 0.222, "validation_loss": 0.333},
    ]
    return {
        "title": f"Experiment {index}",
        "description": "An experiment that never ran.",
        "dataset": "toys" if index == 0 else "lines",
        "model": "tiny",
        "methods": methods,
        "seeds": list(range(1, seeds + 1)),
        "training": {"learning_rate": 1e-3, "per_device_train_batch_size": 8, "num_train_epochs": 2, "max_length": 64},
        "prompts": ["So many books, "],
        "few_shot": [2],
        "mends": None,
        "overrides": {},
        "search": None,
        "key_term": None,
        "smallest_relevant_difference": 0.02,
        "published": {
            "source": "Figure 0",
            "model": "a larger one",
            "dataset": "real toys",
            "rows": {"train": 99, "validation": 11},
            "loss_over": "batches",
            "inferred": {"rows": "its number of steps"},
            "margin": 0.1,
            "comparable": False,
            "why": "Another model.",
            "losses": losses,
            "samples": [{"prompt": "So many books, ", "completion": "and no table."}],
        }
        if published
        else None,
    }


def _provenance(kind: str, name: str) -> dict[str, Any]:
    return {
        "name": name,
        "kind": kind[:-1],
        "source": {"type": "generated"},
        "revision": "0.0.0",
        "sha256": "0" * 64,
        "files": [{"name": "raw.parquet", "sha256": "1" * 64, "bytes": 10}],
        "licence": "CC0-1.0",
        "synthetic": name == "toys",
        "rows": 100,
        "bytes": 1000,
        "retrieved": "2000-01-01T00:00:00Z",
    }


def _write_experiment(place: Path, name: str, labels: bool, rows: int) -> None:
    splits = {"train": 4 * rows, "validation": rows, "test": rows}
    profile = {
        "raw_rows": 7 * rows,
        "rows": 6 * rows,
        "rejected": {"empty": 2},
        "exact_duplicates": 3,
        "near_duplicates": 1,
        "near_duplicate_threshold": 0.9,
        "copies": [{"row": "r7", "copy_of": "r2", "similarity": 0.95}],
        "warnings": ["90 of 700 rows were dropped"] if labels else [],
        "splits": splits,
        "left_out": 0,
        "dropped_turns": 2,
        "labels": {split: dict.fromkeys(LABELS, count // 3) for split, count in splits.items()} if labels else {},
        "characters": {"min": 3, "median": 40, "max": 400},
        "crossing_copies": 0,
        "crossing": [],
        "heldout_nearest_similarity": {"median": 0.31, "p95": 0.55, "max": 0.71},
        "synthetic": labels,
        "examples": [{"row": "r1", "prompt": HOSTILE[:200], "completion": "An answer.", "label": LABELS[0]}],
    }
    write_json(place / "datasets" / ("toys" if labels else "lines") / "profile.json", profile)
    counts = [5, 20, 40, 30, 10, 0, 5, 10]
    lengths = {
        split: {
            "rows": count,
            "tokens": 30 * count,
            "supervised_tokens": 10 * count,
            "min": 4,
            "median": 28,
            "p95": 60,
            "max": 64,
            "truncated": count // 9,
            "histogram": {"edges": [8 * edge for edge in range(9)], "counts": counts},
        }
        for split, count in splits.items()
    }
    write_json(place / "tokens" / name / "lengths.json", {"max_length": 64} | lengths)


def _write_run(
    place: Path, experiment: str, method: str, seed: int, index: int, rows: int, steps: int, overfits: bool
) -> None:
    run = f"{experiment}/{method}/seed-{seed}"
    folder = place / "runs" / run
    generator = numpy.random.default_rng([seed, index, len(method)])
    loss = 3.0 if method == "base" else 2.0 + 0.1 * index + 0.02 * len(method) + 0.004 * max(0, seed - 1)
    spec = {"run": run, "experiment": experiment, "method": method, "seed": seed, "identity": identity_of(run)}
    details = {
        "task": "causal-lm",
        "model": {"name": "tiny"},
        "dataset": {"name": "toys"},
        "training": {
            "learning_rate": 1e-3,
            "per_device_train_batch_size": 8,
            "num_train_epochs": 2,
            "max_grad_norm": 1.0,
            "max_validation_rows": VALIDATED,
        },
        "adapter": None
        if method in ("base", "full")
        else {"kind": "lora", "r": 4, "lora_alpha": 8, "init_lora_weights": True},
        "trains": "all" if method == "full" else None,
        "quantization": _method(method)["quantization"],
        "generation": {"max_new_tokens": 20, "batch_size": 16},
        "prompts": ["So many books, "],
        "searched": [],
    }
    write_json(folder / "run.json", spec | details)
    write_json(folder / "evaluation.json", _evaluation(run, loss, rows, labels=index == 0, method=method))
    frame = {
        "row": [f"r{row}" for row in range(rows)],
        "input": [f"So many books {row}, " for row in range(rows)],
        "reference": ["so little time."] * rows,
        "prediction": ["no time at all."] * rows,
        "text_loss": loss + generator.normal(0, 0.3, rows),
        "text_tokens": generator.integers(5, 20, rows),
        "correct": generator.random(rows) < (0.4 if method == "base" else 0.9) if index == 0 else [None] * rows,
    }
    if method == "base" and index > 0:
        for draw, gain in enumerate(DRAWS):
            frame[f"few_shot_2_{draw}_text_loss"] = frame["text_loss"] - gain
            frame[f"few_shot_2_{draw}_correct"] = frame["correct"]
    frame |= {"loss": frame["text_loss"] + END, "tokens": frame["text_tokens"] + 1}
    write_parquet(folder / "predictions.parquet", pandas.DataFrame(frame))
    write_json(folder / "samples.json", _samples(method, labels=index == 0))
    if method != "base":
        _write_training(folder, run, method, seed, steps, loss, overfits, generator)


def _evaluation(run: str, loss: float, rows: int, labels: bool, method: str) -> dict[str, Any]:
    base, quantized = method == "base", method != "base" and bool(_method(method)["quantization"])
    good = 0.4 if base else 0.9
    metrics = {"accuracy": good, "macro_f1": good} if labels else {}
    verbatim = {"verbatim_training": 0.0 if base else 0.6, "verbatim_heldout": 0.1}
    verbatim["verbatim_difference"] = verbatim["verbatim_training"] - verbatim["verbatim_heldout"]
    neutral = {"neutral_loss": 3.0 if base else 3.2} | ({"neutral_loss_untrained": 3.05} if quantized else {})
    besides = neutral | verbatim
    record = {
        "run": run,
        "split": "test",
        "rows": rows,
        "tokens": 11 * rows,
        "text_tokens": 10 * rows,
        "text_loss": loss,
        "loss": loss + END,
        "perplexity": math.exp(loss + END),
        "bits_per_byte": loss / 3,
        "decoding": {
            "in_force": {"max_new_tokens": 20, "do_sample": False},
            "set_aside": {"min_length": 12, "forced_eos_token_id": 2},
        },
        "metrics": metrics if labels else metrics | besides,
        "metric_rows": {} if labels else dict.fromkeys(neutral, 6) | dict.fromkeys(verbatim, 10),
        "intervals": {name: [value - 0.05, value + 0.05] for name, value in (metrics or verbatim).items()}
        | {"text_loss": [loss - 0.1, loss + 0.1], "loss": [loss + END - 0.1, loss + END + 0.1]},
    }
    if base and labels:
        record["few_shot"] = [{"examples": 2, "not_run": "it never learnt to answer"}]
    elif base:
        draws = [_draw(draw, loss - gain, rows) for draw, gain in enumerate(DRAWS)]
        record["few_shot"] = [{"examples": 2, **metrics_of.over_draws(draws), "draws": draws}]
    if not labels:
        paragraphs = {"losses": _paragraphs(neutral["neutral_loss"]), "tokens": [50] * 6, "sha256": "0" * 64}
        own = _paragraphs(3.05) if quantized else None
        return record | {
            "neutral_text": paragraphs | {"untrained_losses": own},
            "memorisation": {"training_rows_seen": 40, "asked": ["r7", "r9"]},
        }
    scores = {"precision": good, "recall": good, "f1": good, "support": rows // 3}
    confusion = [[8, 1, 0, 1], [2, 7, 1, 0], [0, 1, 9, 0]] if not base else [[3, 3, 3, 1]] * 3
    return record | {"labels": LABELS, "per_label": dict.fromkeys(LABELS, scores), "confusion": confusion}


def _draw(seed: int, loss: float, rows: int) -> dict[str, Any]:
    scores = {"text_loss": loss, "loss": loss + END, "perplexity": math.exp(loss + END), "bits_per_byte": loss / 3}
    limits = {"text_loss": [loss - 0.1, loss + 0.1], "loss": [loss + END - 0.1, loss + END + 0.1]}
    told = {"seed": seed, "rows_shown": ["r7", "r9"], "rows": rows, "tokens": 11 * rows, "text_tokens": 10 * rows}
    return told | scores | {"metrics": {}, "intervals": limits}


def _paragraphs(loss: float) -> list[float]:
    """Summed losses of six paragraphs of 50 tokens, in nats: their mean is `loss` a token."""
    return [50 * (loss + 0.01 * (at - 2.5)) for at in range(6)]


def _samples(method: str, labels: bool) -> list[dict[str, Any]]:
    answers = (
        ["again and again and again and again and again", HOSTILE] if method == "base" else ["so little time.", HOSTILE]
    )
    sources = [("config", None, None), ("heldout", "so little time.", LABELS[0] if labels else None)]
    return [
        {
            "prompt": f"So many books {number}, ",
            "completion": answer,
            "reference": reference,
            "tokens": 12,
            "stopped": method != "base",
            "begins_training_rows": 3 if source == "config" else 0,
            "source": source,
            "label": label,
        }
        for number, (answer, (source, reference, label)) in enumerate(zip(answers, sources, strict=True))
    ]


def _write_training(
    folder: Path,
    run: str,
    method: str,
    seed: int,
    steps: int,
    loss: float,
    overfits: bool,
    generator: numpy.random.Generator,
) -> None:
    lines = [{"step": 0, "epoch": 0.0, "split": "validation", "loss": 3.0}]
    for step in range(1, steps + 1):
        progress = step / steps
        training_loss = 3.0 - progress * (3.0 - loss + (0.8 if overfits else 0.0)) + generator.normal(0, 0.08)
        norm = 1 + abs(generator.normal())
        line = {
            "step": step,
            "epoch": 2 * progress,
            "split": "train",
            "loss": training_loss,
            "learning_rate": 1e-3 * (1 - progress),
        }
        lines.append(line | {"grad_norm": norm, "tokens": 100 * step, "wall_s": step / 4})
        if step % max(1, steps // 8) == 0:
            valley = loss + 1.5 * (progress - 0.4) ** 2 if overfits else loss + (1 - progress) ** 2
            lines.append(
                {"step": step, "epoch": 2 * progress, "split": "validation", "loss": valley, "tokens": 100 * step}
            )
    columns = ["step", "epoch", "split", "loss", "learning_rate", "grad_norm", "tokens", "wall_s"]
    write_csv(folder / "history.csv", pandas.DataFrame(lines, columns=columns))
    spread = generator.normal(0, 0.2, VALIDATED)
    frames = [
        {"step": line["step"], "row": [f"v{row}" for row in range(VALIDATED)], "tokens": 10,
         "loss": line["loss"] + spread - spread.mean() + generator.normal(0, 0.01, VALIDATED)}
        for line in lines if line["split"] == "validation"
    ]  # fmt: skip
    write_parquet(folder / "validation.parquet", pandas.concat(map(pandas.DataFrame, frames), ignore_index=True))
    trainable, weights, optimizer, peak, wall = METHODS[method]
    record = {
        "run": run,
        "identity": identity_of(run),
        "device": "fake device",
        "versions": {"python": "3.11.0", "torch": "0.0.0"},
        "seed": seed,
        "quantized_layers": 0 if method in ("full", "lora") else 210,
        "unquantized_modules": [] if method in ("full", "lora") else ["lm_head", "model.embed_tokens"],
        "quantized_share": 0.0 if method in ("full", "lora") else 1.0,
        "adapted_share": 1.0,
        "parameters": 134_515_008,
        "trainable_parameters": int(trainable),
        "weight_bytes": int(weights),
        "optimizer_bytes": int(optimizer),
        "steps": steps,
        "epochs": 2.0,
        "tokens": 100 * steps,
        "wall_s": wall,
        "tokens_per_s": 100 * steps / wall,
        "peak_memory_bytes": int(peak),
        "best_step": steps // 2 if overfits else steps,
        "best_validation_loss": loss,
    }
    write_json(folder / "training.json", record)
