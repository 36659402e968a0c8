"""Published against reproduced: is it the same model, the same data, the same split, the same mean? Records answer where they
can, the config's words where they cannot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tunebook.reporting.curves import same_epoch
from tunebook.reporting.study_folder import Experiment, Run
from tunebook.reporting.typeset import integer, listed, plain
from tunebook.statistics.paired import ratio_interval

NOT_KNOWN = "not known"
OUR_MEAN = "tokens"  # see finetuning.scoring
NAMES = {"Model": "model", "Data": "data set"}


@dataclass(frozen=True)
class Ground:
    """A question on which comparing depends; `same` is None where nobody knows. Those that `decide` forbid it."""

    question: str
    published: str
    ours: str
    same: bool | None
    decides: bool = False
    inferred: str | None = None  # from what the published side was inferred, where its source does not state it


@dataclass(frozen=True)
class Comparability:
    """Whether published figures may stand against ours, and the whole reason in a sentence."""

    comparable: bool
    why: str
    grounds: tuple[Ground, ...]


def comparability(experiment: Experiment) -> Comparability:
    """Whether an experiment's losses may be compared with the published ones. They may where model and data are the same,
    the source states both, and the config gives no reason against it. Another split or another mean is named and forbids
    nothing. A published figure of an epoch at which no run ended is named too (see `frames.published_of`)."""
    published = experiment.spec["published"]
    grounds = _grounds(experiment, published)
    others = [ground for ground in grounds if ground.decides and not ground.same]
    words = [published["why"].rstrip(".")]
    guessed = [ground for ground in grounds if ground.decides and ground.same and ground.inferred]
    if guessed and published["comparable"]:
        words += [f"its {NAMES[each.question]} was inferred from {each.inferred}" for each in guessed]
    if others and published["comparable"]:  # the config expects them to be the same
        words = [f"another {NAMES[each.question]} ({each.published}; ours: {each.ours})" for each in others]
    if not others:
        words += [
            _reservation(ground) for ground in grounds if ground.question in ("Split", "Mean") and not ground.same
        ]
    words += [
        f"theirs is of {ground.published}, where ours ended {ground.ours}"
        for ground in grounds
        if ground.question == "Epochs" and not ground.same
    ]
    return Comparability(published["comparable"] and not others and not guessed, "; ".join(words), grounds)


def _grounds(experiment: Experiment, published: dict[str, Any]) -> tuple[Ground, ...]:
    model, data = source_name(experiment.model["source"]), source_name(experiment.dataset["source"])
    splits, rows, mean = experiment.profile["splits"], published["rows"], published["loss_over"]
    validated = validated_rows(experiment)
    ours = {"train": splits["train"], "validation": validated[0] if len(validated) == 1 else None}
    inferred = published["inferred"]
    same_rows = None if rows is None else all(rows[split] == ours[split] for split in ours)
    return (
        Ground("Model", published["model"], model, _same(published["model"], model), True, inferred.get("model")),
        Ground("Data", published["dataset"], data, _same(published["dataset"], data), True, inferred.get("dataset")),
        Ground(
            "Split", _split_words(rows), _our_split_words(splits, validated), same_rows, False, inferred.get("rows")
        ),
        Ground(
            "Mean",
            _mean_words(mean),
            _mean_words(OUR_MEAN),
            None if mean is None else mean == OUR_MEAN,
            False,
            inferred.get("loss_over"),
        ),
        *_epochs(experiment, published),
    )


REPRODUCED_RULE = (
    "A published validation loss is reproduced when the 90 % interval of ours, over the validation rows, lies within the "
    "margin around it (two one-sided tests at 0.05, Schuirmann 1987), contradicted when the interval lies outside, and "
    "otherwise neither is shown. The interval is about the validation rows, not about other seeds."
)


def verdict(experiment: Experiment, run: Run, step: int, published: float) -> str:
    """Whether a run's validation loss at a step reproduces a published one that it may be compared with."""
    rows = run.validation[run.validation["step"] == step]
    low, high = ratio_interval(rows["loss"] * rows["tokens"], rows["tokens"], level=0.1)
    margin = experiment.spec["published"]["margin"] * published
    if published - margin <= low and high <= published + margin:
        return "reproduced"
    return "contradicted" if high < published - margin or low > published + margin else "not shown"


def validated_rows(experiment: Experiment) -> list[int]:
    """How many rows the runs' validation losses are over, each number once; the whole split where there is no run."""
    return sorted({experiment.validated_rows(run) for run in experiment.runs}) or [
        experiment.profile["splits"]["validation"]
    ]


def _epochs(experiment: Experiment, published: dict[str, Any]) -> list[Ground]:
    """Of which epochs the published losses are, and where our runs ended; nothing to ask where there is neither."""
    theirs = sorted(line["epoch"] for line in published["losses"])
    ends = sorted({round(float(run.epochs["epoch"].iloc[-1]), 2) for run in experiment.runs})
    if not theirs or not ends:
        return []
    reached = all(any(same_epoch(one, end) for end in run.epochs["epoch"]) for run in experiment.runs for one in theirs)
    words = f"epoch{'s' if len(theirs) > 1 else ''} {listed([plain(epoch) for epoch in theirs])}"
    return [Ground("Epochs", words, f"after {listed([plain(end) for end in ends])}", reached, False,
                   published["inferred"].get("epochs"))]  # fmt: skip


def source_name(source: dict[str, Any]) -> str:
    """What a model or a data set is called where it comes from."""
    kind = source["type"]
    if kind == "generated":
        return f"{source['generator']}, generated by this project"
    return {"hub": source.get("id"), "wheel": source.get("package"), "path": source.get("path")}.get(kind, kind)


def _same(theirs: str, ours: str) -> bool:
    """The same id, or the same name where one of the two names no owner: a copy."""
    theirs, ours = theirs.casefold(), ours.casefold()
    if "/" in theirs and "/" in ours:
        return theirs == ours
    return theirs.rsplit("/", 1)[-1] == ours.rsplit("/", 1)[-1]


def _split_words(rows: dict[str, int] | None) -> str:
    if rows is None:
        return NOT_KNOWN
    return f"{integer(rows['train'])} rows to train on, {integer(rows['validation'])} to validate on"


def _our_split_words(splits: dict[str, int], validated: list[int]) -> str:
    if validated == [splits["validation"]]:
        return _split_words(splits)
    used = listed([integer(rows) for rows in validated], "or")
    return f"{integer(splits['train'])} rows to train on, the first {used} of {integer(splits['validation'])} to validate on"


def _mean_words(mean: str | None) -> str:
    return NOT_KNOWN if mean is None else f"over {mean}"


def _reservation(ground: Ground) -> str:
    if ground.question == "Split":
        return "its split is not known" if ground.same is None else f"other rows were held out ({ground.published})"
    return (
        "what its loss is a mean over is not known"
        if ground.same is None
        else f"its loss is a mean {ground.published}, ours {ground.ours}"
    )
