"""A study's records as data frames: what the CSV tables hold, in full precision."""

from __future__ import annotations

import math
from typing import Any

import pandas

from tunebook.reporting.comparison import loss_difference, over_seeds, share_removed
from tunebook.reporting.contests import Contest, label_contests, loss_contests
from tunebook.reporting.curves import EPOCH_SLACK, same_epoch
from tunebook.reporting.diagnosis import diagnose_run
from tunebook.reporting.published import comparability, verdict
from tunebook.reporting.search import values_in_words
from tunebook.reporting.study_folder import Experiment, Run, Study


def build_tables(study: Study) -> dict[str, pandas.DataFrame]:
    """Table name -> frame, a line each as `results/README.md` says; quantities in the units of their names."""
    return {
        "runs": pandas.DataFrame([run_line(e, run) for e in study.experiments for run in e.runs]),
        "losses": losses_table(study),
        "published": published_table(study),
        "metrics": metrics_table(study),
        "seeds": seeds_table(study),
        "comparisons": comparisons_table(study),
        "search": search_frame(study),
        "methods": pandas.DataFrame([method_line(run) for e in study.experiments for run in (e.base, *e.runs)]),
    }


def run_line(experiment: Experiment, run: Run) -> dict[str, Any]:
    """One finetuned run against its base; `text_loss_gain` is base minus run in nats a token of the text, paired by row."""
    gain = loss_difference((experiment.base,), (run,))
    verdicts = diagnose_run(experiment, run)
    metrics, base_metrics = run.metrics, experiment.base.metrics
    return {
        "experiment": run.experiment,
        "method": run.method,
        "seed": run.seed,
        "split": run.evaluation["split"],
        "rows": run.evaluation["rows"],
        "base_text_loss": experiment.base.text_loss,
        "text_loss": run.text_loss,
        "base_loss": experiment.base.loss,
        "loss": run.loss,
        "share_removed": share_removed(experiment.base, run),
        "text_loss_gain": gain.mean,
        "text_loss_gain_low": gain.low,
        "text_loss_gain_high": gain.high,
        "gain_shown": gain.shown,
        "base_accuracy": base_metrics.get("accuracy", math.nan),
        "accuracy": metrics.get("accuracy", math.nan),
        "steps": run.training["steps"],
        "epochs": run.training["epochs"],
        "best_step": run.training["best_step"],
        "best_validation_loss": run.training["best_validation_loss"],
        "wall_s": run.training["wall_s"],
        "tokens_per_s": run.training["tokens_per_s"],
        "peak_memory_bytes": run.training["peak_memory_bytes"],
        "verdicts": "; ".join(verdict.phrase for verdict in verdicts if verdict.found),
        "identity": run.spec["identity"],
    }


def losses_table(study: Study) -> pandas.DataFrame:
    """The loss table of every run: a line an epoch, published figures beside."""
    frames = [losses_of(experiment, run) for experiment in study.experiments for run in experiment.runs]
    return pandas.concat(frames, ignore_index=True) if frames else pandas.DataFrame()


def losses_of(experiment: Experiment, run: Run) -> pandas.DataFrame:
    """Losses of one run by epoch, beside a published figure only where that is of the same epoch.

    A published epoch at which the run was not measured keeps a line of its own, without measured losses.
    """
    measured = run.epochs[["epoch", "training_loss", "validation_loss"]]
    lines = [] if experiment.spec["published"] is None else experiment.spec["published"]["losses"]
    published = pandas.DataFrame(lines, columns=["epoch", "training_loss", "validation_loss"], dtype=float)
    ends = measured["epoch"].to_list()
    published["epoch"] = [next((end for end in ends if same_epoch(end, one)), one) for one in published["epoch"]]
    table = measured.merge(published.rename(columns=_published_name), on="epoch", how="outer")
    table = table.sort_values("epoch", ignore_index=True)
    table.insert(0, "experiment", run.experiment)
    table.insert(1, "method", run.method)
    table.insert(2, "seed", run.seed)
    return table


def _published_name(column: str) -> str:
    return column if column == "epoch" else f"published_{column}"


def published_table(study: Study) -> pandas.DataFrame:
    """Every published loss against ours. `difference`: ours minus the published one, where the two are comparable and of
    the same epoch; `verdict`: whether a validation loss is reproduced; `comparable`, yes or no, and why."""
    frames = [published_of(experiment, run) for experiment in study.experiments for run in experiment.runs]
    columns = [
        "experiment", "method", "seed", "epoch", "loss", "published", "our_epoch", "ours", "difference", "verdict",
        "comparable", "why",
    ]  # fmt: skip
    lines = [line for frame in frames for line in frame]
    return pandas.DataFrame(lines, columns=columns)


def published_of(experiment: Experiment, run: Run) -> list[dict[str, Any]]:
    """A line a published loss, by its own epoch.

    Ours is of that epoch, or of the part of it after which the run ended: then there is no difference, and `our_epoch`
    says where it ended. It is NaN where the run did not reach that epoch at all.
    """
    if experiment.spec["published"] is None:
        return []
    told = comparability(experiment)
    shared = {"experiment": run.experiment, "method": run.method, "seed": run.seed}
    lines = []
    for theirs in sorted(experiment.spec["published"]["losses"], key=lambda line: line["epoch"]):
        ours = _loss_within(run.epochs, theirs["epoch"])
        alike = ours is not None and same_epoch(ours["epoch"], theirs["epoch"])
        comparable = told.comparable and alike
        shown = {"comparable": "yes" if comparable else "no", "why": told.why}
        for loss in ("training", "validation"):
            published = theirs[f"{loss}_loss"]
            if published is not None:
                mine = math.nan if ours is None else ours[f"{loss}_loss"]
                figures = {"epoch": float(theirs["epoch"]), "loss": loss, "published": published}
                figures |= {"our_epoch": math.nan if ours is None else ours["epoch"], "ours": mine}
                figures["difference"] = mine - published if comparable else math.nan
                figures["verdict"] = "not comparable"
                if comparable:
                    step = run.validation_step(ours["epoch"])
                    figures["verdict"] = verdict(experiment, run, step, published) if loss == "validation" else ""
                lines.append({**shared, **figures, **shown})
    return lines


def _loss_within(epochs: pandas.DataFrame, epoch: float) -> dict[str, float] | None:
    """The line of `curves.by_epoch` of this epoch or of a part of it; None where the run ended before it began."""
    lines = epochs.to_dict("records")
    within = [line for line in lines if math.ceil(line["epoch"] - EPOCH_SLACK) == math.ceil(epoch - EPOCH_SLACK)]
    return next((line for line in lines if same_epoch(line["epoch"], epoch)), within[-1] if within else None)


def metrics_table(study: Study) -> pandas.DataFrame:
    """Every metric of every run, the base run and the baselines included: experiment, method, seed, metric, value, low, high, rows."""
    lines = []
    for experiment in study.experiments:
        for run in (*experiment.untrained, *experiment.runs):
            for metric, value in run.metrics.items():
                low, high = run.intervals.get(metric, (math.nan, math.nan))
                lines.append((run.experiment, run.method, run.seed, metric, value, low, high, run.rows_of(metric)))
    return pandas.DataFrame(lines, columns=["experiment", "method", "seed", "metric", "value", "low", "high", "rows"])


def seeds_table(study: Study) -> pandas.DataFrame:
    """Mean and range over seeds, and over draws of examples in the prompt: experiment, method, metric, seeds, mean, lowest,
    highest. One seed is a range of nothing."""
    lines = []
    for experiment in study.experiments:
        draws = {name: group for name, group in experiment.untrained_groups.items() if len(group) > 1}
        for method, runs in (draws | experiment.methods).items():
            for metric, (seeds, middle, lowest, highest) in over_seeds(runs).items():
                lines.append((experiment.name, method, metric, seeds, middle, lowest, highest))
    return pandas.DataFrame(lines, columns=["experiment", "method", "metric", "seeds", "mean", "lowest", "highest"])


def comparisons_table(study: Study) -> pandas.DataFrame:
    """Pairs on the same rows: their losses of the text and, where they answer with labels, their right answers.

    experiment, test (loss, answers), left, right, rows; difference (left less right: nats a token, or share of right
    answers), low, high; only_left, only_right where two runs answer with labels; p (adjusted); verdict.
    """
    lines = []
    for experiment in study.experiments:
        for one in loss_contests(experiment):
            told = {"left": one.left, "right": one.right, "rows": one.difference.rows}
            lines.append({"experiment": experiment.name, "test": "loss", **told, **_figures(one)})
        for one in label_contests(experiment):
            told = {name: getattr(one, name) for name in ("left", "right", "rows", "only_left", "only_right")}
            lines.append({"experiment": experiment.name, "test": "answers", **told, **_figures(one)})
    columns = [
        "experiment", "test", "left", "right", "rows", "difference", "low", "high", "only_left", "only_right", "p",
        "verdict",
    ]  # fmt: skip
    return pandas.DataFrame(lines, columns=columns).astype({"only_left": "Int64", "only_right": "Int64"})


def search_frame(study: Study) -> pandas.DataFrame:
    """Every trial of every search: experiment, method, trial, values (words), best_validation_loss (none where it diverged),
    best_step, steps, tokens, wall_s, chosen."""
    lines = []
    for experiment in study.experiments:
        for method, search in experiment.searches.items():
            for trial in search.trials:
                told = (
                    values_in_words(trial.values),
                    trial.loss,
                    trial.best_step,
                    trial.steps,
                    trial.tokens,
                    trial.wall_s,
                )
                lines.append((experiment.name, method, trial.key, *told, trial is search.chosen))
    columns = [
        "experiment", "method", "trial", "values", "best_validation_loss", "best_step", "steps", "tokens", "wall_s",
        "chosen",
    ]  # fmt: skip
    return pandas.DataFrame(lines, columns=columns).astype({"best_step": "Int64"})


def _figures(one: Contest) -> dict[str, Any]:
    difference = {"difference": one.difference.mean, "low": one.difference.low, "high": one.difference.high}
    return {**difference, "p": one.p, "verdict": one.words}


def method_line(run: Run) -> dict[str, Any]:
    """What a run trains, stores and costs; the base run has nothing but its loss."""
    training = run.training or {}
    names = (
        "device", "quantized_layers", "parameters", "trainable_parameters", "weight_bytes", "optimizer_bytes",
        "peak_memory_bytes", "wall_s", "tokens", "tokens_per_s",
    )  # fmt: skip
    line = {"experiment": run.experiment, "method": run.method, "seed": run.seed}
    return line | {name: training.get(name) for name in names} | {"text_loss": run.text_loss, "loss": run.loss}
