"""Three data sets from local files, in the forms that such files have in the wild, from file to report.

The files are written here. With TUNEBOOK_TEST_DATA=FOLDER the real ones are used, if that folder holds them:
financial_phrasebank/Sentences_AllAgree.latin1.txt, medtext/medtext_2.csv and english_quotes/quotes.jsonl.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import yaml

from tests import tiny
from tests.checkout import copy_workflow
from tests.test_dag import snakemake

pytestmark = pytest.mark.slow
FILES = ("financial_phrasebank/Sentences_AllAgree.latin1.txt", "medtext/medtext_2.csv", "english_quotes/quotes.jsonl")


def written(folder: Path) -> Path:
    """Small files of the same forms: latin-1 `sentence@label`, quoted CSV, JSON lines with curly quotes."""
    phrasebank, medtext, quotes = (folder / name for name in FILES)
    for file in (phrasebank, medtext, quotes):
        file.parent.mkdir(parents=True)
    rows = tiny.texts(90)
    phrasebank.write_bytes(
        "\r\n".join(f"{row['text']} in Jyväskylä @ 5 %@{row['label']}" for row in rows).encode("latin-1")
    )
    lines = [f'"A patient, no {i}: ""{row["text"]}""","Rest,\nand {row["text"]}"' for i, row in enumerate(rows)]
    medtext.write_text("Prompt,Completion\n" + "\n".join(lines) + "\n", encoding="utf-8")
    records = [{"quote": f"“{row['text']}”", "author": "Nobody", "tags": ["a"]} for row in rows]
    quotes.write_text("\n".join(json.dumps(record, ensure_ascii=False) for record in records) + "\n", encoding="utf-8")
    return folder


def study(folder: Path, data: Path) -> dict:
    """The study: one experiment a file, on tiny models."""
    phrasebank, medtext, quotes = (str(data / name) for name in FILES)
    datasets = {
        "phrasebank": {
            "source": {"type": "path", "path": phrasebank},
            "format": {"type": "delimited", "delimiter": "@", "names": ["sentence", "label"], "encoding": "latin-1"},
            "prompt": "{{ sentence }}",
            "label": "label",
            "labels": ["negative", "neutral", "positive"],
        },
        "medtext": {
            "source": {"type": "path", "path": medtext},
            "format": {"type": "csv"},
            "columns": {"case": "Prompt"},
            "prompt": "{{ case }}\n",
            "completion": "{{ Completion }}",
        },
        "quotes": {
            "source": {"type": "path", "path": quotes},
            "format": {"type": "jsonl"},
            "text": "{{ quote }} - {{ author }}",
            "tolerance": 0.01,
        },
    }
    shared = {"near_duplicate_threshold": 0.98, "split": {"validation": 8, "test": 12}, "licence": "see the file"}
    training = {
        "learning_rate": 0.01,
        "max_steps": 2,
        "per_device_train_batch_size": 4,
        "evals_per_epoch": 1,
        "max_length": 48,
    }
    models = {}
    for family, task in (("t5", "seq2seq-lm"), ("llama", "causal-lm")):
        tiny.model(folder / family, family)
        models[family] = {"task": task, "source": {"type": "path", "path": str(folder / family)}, "licence": "none"}
    experiments = {
        name: {
            "title": name,
            "dataset": name,
            "model": "t5" if name == "phrasebank" else "llama",
            "methods": ["int8-lora"],
            "training": training,
            "generation": {"max_new_tokens": 4, "heldout_samples": 1},
        }
        for name in datasets
    }
    datasets = {name: {**dataset, **shared} for name, dataset in datasets.items()}
    return {
        "study": "files",
        "title": "Three files",
        "models": models,
        "datasets": datasets,
        "experiments": experiments,
    }


def test_three_local_files_to_a_report(tmp_path):
    copy_workflow(tmp_path)
    given = os.environ.get("TUNEBOOK_TEST_DATA")
    data = Path(given).resolve() if given else written(tmp_path / "data")
    (tmp_path / "config" / "tiny.yaml").write_text(yaml.safe_dump(study(tmp_path, data), allow_unicode=True))
    snakemake(tmp_path)
    results = tmp_path / "results" / "files"
    for name in ("phrasebank", "medtext", "quotes"):
        profile = json.loads((results / "datasets" / name / "profile.json").read_text())
        assert profile["crossing_copies"] == 0
        assert sum(profile["splits"].values()) == profile["rows"] > 60
        assert json.loads((results / "runs" / name / "int8-lora/seed-0/evaluation.json").read_text())["loss"] > 0
    assert "Three files" in (results / "report.html").read_text()
    assert "Jyväskylä" in (results / "datasets/phrasebank/profile.json").read_text() or given
