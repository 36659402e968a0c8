"""Stage `baseline`: what little effort reaches on an experiment with labels or prompts -> baselines/{experiment}.json, .parquet.

The same training rows, the same test rows, the same metrics as the finetuned runs. Where rows have labels, simple classifiers;
where they have prompts and answers, the answer of the nearest training row. The first sentence of a baseline's
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

from tunebook.data.rows import LEARN, question, reference
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
        found[name] = {"definition": _definition(make), "wall_s": wall_s, "regularization": strength, **told}
        predictions[name] = given
    return found, predictions


def retrieval(train: pandas.DataFrame, test: pandas.DataFrame, learn: str) -> pandas.DataFrame:
    """Gives the answer of the training row whose question is nearest: cosine similarity of TF-IDF weights of words and pairs of
    words (scikit-learn); of equals, the first row.

    Returns row, question, reference, retrieval (the answer), nearest (the training row), similarity; a line a test row.
    """
    words = TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"\w+|[^\w\s]", sublinear_tf=True)
    known = words.fit_transform(_questions(train, learn))
    asked = _questions(test, learn)
    likeness = (words.transform(asked) @ known.T).tocsr()
    nearest = [int(likeness[row].toarray().argmax()) for row in range(len(asked))]
    answers = train.apply(reference, axis=1, learn=learn).tolist()
    return pandas.DataFrame(
        {
            "row": test["row"].tolist(),
            "question": asked,
            "reference": test.apply(reference, axis=1, learn=learn).tolist(),
            "retrieval": [answers[place] for place in nearest],
            "nearest": [train["row"].iloc[place] for place in nearest],
            "similarity": [float(likeness[row, place]) for row, place in enumerate(nearest)],
        }
    )


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


def _questions(rows: pandas.DataFrame, learn: str = LEARN) -> list[str]:
    return rows.apply(question, axis=1, learn=learn).tolist()


def _definition(baseline: Callable[..., Any]) -> str:
    return inspect.getdoc(baseline).split("\n\n")[0].replace("\n", " ")


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--study", type=Path, required=True, help="study.json")
    parser.add_argument("--experiment", required=True, help="the experiment's name")
    parser.add_argument("--dataset", type=Path, required=True, help="folder of the prepared data set")
    parser.add_argument("--output", type=Path, required=True, help="the folder to write to")


def main(args: argparse.Namespace) -> None:
    spec = read_spec(args.study, "tokenize", args.experiment)
    splits = (read_split(args.dataset, split) for split in ("train", "validation", SPLIT))
    train, validation, test = splits
    if spec["labels"]:
        found, predictions = baselines(train, validation, test, spec["labels"])
        shown = ", ".join(f"{name} {told['metrics']['accuracy']:.3f}" for name, told in found.items())
        said = f"accuracy of {shown}"
    else:
        start = time.perf_counter()
        predictions = retrieval(train, test, spec["learn"])
        wall_s = round(time.perf_counter() - start, 3)
        found = {"retrieval": {"definition": _definition(retrieval), "wall_s": wall_s}}
        said = f"similarity to the nearest training row {predictions['similarity'].mean():.2f} at the mean"
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
    print(f"baseline {args.experiment}: {said} over {len(test)} rows", flush=True)
