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

from tunebook.data.rows import question
from tunebook.data.splits import read_split
from tunebook.finetuning import metrics
from tunebook.records import read_spec, write_json, write_parquet

SPLIT = "test"


REGULARIZATION = (0.1, 1.0, 10.0, 100.0)  # inverse strengths C of logistic regression, from strong to weak


def majority() -> Any:
    """Answers every row with the label that is most frequent among the training rows."""
    return DummyClassifier(strategy="most_frequent")


def tf_idf(strength: float = 1.0) -> Any:
    """Logistic regression on TF-IDF weights of words and pairs of words, trained on the same training rows (scikit-learn);
    the strength of its regularization is chosen on the validation rows."""
    # Signs count as words, so that no row is without any; no random numbers are drawn
    words = TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"\w+|[^\w\s]", sublinear_tf=True)
    return make_pipeline(words, LogisticRegression(C=strength, max_iter=1000))


BASELINES: dict[str, tuple[Callable[..., Any], tuple[float, ...]]] = {
    "majority": (majority, ()),
    "TF-IDF": (tf_idf, REGULARIZATION),
}


def baselines(
    train: pandas.DataFrame, validation: pandas.DataFrame, test: pandas.DataFrame, names: list[str]
) -> tuple[dict[str, dict[str, Any]], pandas.DataFrame]:
    """Train and score all baselines. `train`, `validation`, `test`: a split's rows; `names`: the labels.

    Returns baseline -> its metrics as evaluation.json has them, and the predictions: row, reference, a column a baseline.
    """
    labels = test["label"].tolist()
    predictions = pandas.DataFrame({"row": test["row"].tolist(), "reference": labels})
    found = {}
    for name, (make, strengths) in BASELINES.items():
        start = time.perf_counter()
        fitted, strength = _fitted(make, strengths, train, validation)
        given = [str(label) for label in fitted.predict(_questions(test))]
        wall_s = round(time.perf_counter() - start, 3)
        told = metrics.label_record(labels, given, names, intervals={})
        definition = inspect.getdoc(make).split("\n\n")[0].replace("\n", " ")
        found[name] = {"definition": definition, "wall_s": wall_s, "regularization": strength, **told}
        predictions[name] = given
    return found, predictions


def _fitted(
    make: Callable[..., Any], strengths: tuple[float, ...], train: pandas.DataFrame, validation: pandas.DataFrame
) -> tuple[Any, float | None]:
    """The classifier with the most right answers on the validation rows, and its strength; the stronger one of equals."""
    texts, labels = _questions(train), train["label"].tolist()
    if not strengths:
        return make().fit(texts, labels), None
    fitted = {strength: make(strength).fit(texts, labels) for strength in strengths}
    scores = {c: one.score(_questions(validation), validation["label"].tolist()) for c, one in fitted.items()}
    best = max(strengths, key=scores.__getitem__)
    return fitted[best], best


def _questions(rows: pandas.DataFrame) -> list[str]:
    return rows.apply(question, axis=1).tolist()


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--study", type=Path, required=True, help="study.json")
    parser.add_argument("--experiment", required=True, help="the experiment's name")
    parser.add_argument("--dataset", type=Path, required=True, help="folder of the prepared data set")
    parser.add_argument("--output", type=Path, required=True, help="the folder to write to")


def main(args: argparse.Namespace) -> None:
    names = read_spec(args.study, "tokenize", args.experiment)["labels"]
    splits = (read_split(args.dataset, split) for split in ("train", "validation", SPLIT))
    train, validation, test = splits
    found, predictions = baselines(train, validation, test, names)
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
