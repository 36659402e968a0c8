"""Stage `baseline`: what little effort reaches on an experiment with labels -> baselines/{experiment}.json, .parquet.

The same training rows, the same test rows, the same metrics as the finetuned runs. The first sentence of a baseline's
docstring is its definition; the report quotes it.
"""

from __future__ import annotations

import argparse
import inspect
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas
from sklearn.dummy import DummyClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from tunebook.digests import checked
from tunebook.finetuning import metrics
from tunebook.records import read_spec, write_json, write_parquet

SPLIT = "test"


def majority() -> Any:
    """Answers every row with the label that is most frequent among the training rows."""
    return DummyClassifier(strategy="most_frequent")


def tf_idf() -> Any:
    """Logistic regression on TF-IDF weights of words and pairs of words, trained on the same training rows (scikit-learn)."""
    # Signs count as words, so that no row is without any; no random numbers are drawn
    words = TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"\w+|[^\w\s]", sublinear_tf=True)
    return make_pipeline(words, LogisticRegression(max_iter=1000))


BASELINES: dict[str, Callable[[], Any]] = {"majority": majority, "TF-IDF": tf_idf}


def baselines(
    train: pandas.DataFrame, test: pandas.DataFrame, names: list[str]
) -> tuple[dict[str, dict[str, Any]], pandas.DataFrame]:
    """Train and score all baselines. `train`, `test`: a split's rows; `names`: the labels.

    Returns baseline -> its metrics as evaluation.json has them, and the predictions: row, reference, a column a baseline.
    """
    texts, labels = {"train": _texts(train), "test": _texts(test)}, test["label"].tolist()
    predictions = pandas.DataFrame({"row": test["row"].tolist(), "reference": labels})
    found = {}
    for name, make in BASELINES.items():
        start = time.perf_counter()
        given = [str(label) for label in make().fit(texts["train"], train["label"].tolist()).predict(texts["test"])]
        wall_s = round(time.perf_counter() - start, 3)
        told = metrics.label_record(labels, given, names, intervals={})
        definition = inspect.getdoc(make).split("\n\n")[0].replace("\n", " ")
        found[name] = {"definition": definition, "wall_s": wall_s, **told}
        predictions[name] = given
    return found, predictions


def _texts(rows: pandas.DataFrame) -> list[str]:
    """What a row gives to read: its prompt, its text, or its first turn."""
    texts = []
    for row in rows.to_dict("records"):
        given = [row[key] for key in ("prompt", "text") if isinstance(row[key], str)]
        texts.append(given[0] if given else row["messages"][0])
    return texts


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--study", type=Path, required=True, help="study.json")
    parser.add_argument("--experiment", required=True, help="the experiment's name")
    parser.add_argument("--dataset", type=Path, required=True, help="folder of the prepared data set")
    parser.add_argument("--output", type=Path, required=True, help="the folder to write to")


def main(args: argparse.Namespace) -> None:
    names = read_spec(args.study, "tokenize", args.experiment)["labels"]
    train, test = (pandas.read_parquet(checked(args.dataset / f"{split}.parquet")) for split in ("train", SPLIT))
    found, predictions = baselines(train, test, names)
    record = {
        "experiment": args.experiment,
        "split": SPLIT,
        "rows": len(test),
        "training_rows": len(train),
        "versions": {"scikit-learn": version("scikit-learn")},
        "baselines": found,
    }
    write_parquet(args.output / f"{args.experiment}.parquet", predictions)
    write_json(args.output / f"{args.experiment}.json", record)
    shown = ", ".join(f"{name} {told['metrics']['accuracy']:.3f}" for name, told in found.items())
    print(f"baseline {args.experiment}: accuracy of {shown} over {len(test)} rows", flush=True)
