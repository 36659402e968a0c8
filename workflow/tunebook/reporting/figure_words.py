"""What a figure shows, in words with numbers: the text that a screen reader speaks in the figure's place."""

from __future__ import annotations

from tunebook.reporting.comparison import over_seeds
from tunebook.reporting.curves import split_rows
from tunebook.reporting.metrics import title
from tunebook.reporting.search import values_in_words
from tunebook.reporting.study_folder import Experiment, Run
from tunebook.reporting.typeset import count, duration, fixed, integer, listed, number, size
from tunebook.reporting.untrained import Baseline


def alternative(kind: str, experiment: Experiment) -> str:
    """Alternative text of one figure. Args: kind: the figure's file name without .svg."""
    return {
        "loss": _loss,
        "training": _training,
        "metrics": _metrics,
        "methods": _methods,
        "lengths": _lengths,
        "confusion": _confusion,
        "search": _search,
    }[kind](experiment)


def _each(experiment: Experiment) -> list[tuple[str, Run]]:
    return [(method, runs[0]) for method, runs in experiment.methods.items()]


def _loss(experiment: Experiment) -> str:
    parts = []
    for method, run in _each(experiment):
        losses = split_rows(run.history, "validation")["loss"]
        parts.append(
            f"{method}: validation loss goes from {fixed(losses.iloc[0])} over its lowest value {fixed(losses.min())} "
            f"to {fixed(losses.iloc[-1])} at step {integer(run.training['steps'])}"
        )
    return (
        "Line chart of training loss and validation loss against optimizer steps, epochs on the upper axis. "
        f"{'; '.join(parts)}. The base model's held-out loss, with end tokens as these, is "
        f"{fixed(experiment.base.loss)}."
    )


def _training(experiment: Experiment) -> str:
    parts = []
    for method, run in _each(experiment):
        train = split_rows(run.history, "train")
        parts.append(
            f"{method}: median gradient norm {number(train['grad_norm'].median())}, highest "
            f"{number(train['grad_norm'].max())}; learning rate {number(train['learning_rate'].max())} at its highest and "
            f"{number(train['learning_rate'].iloc[-1])} at the end"
        )
    return f"Line charts of gradient norm and learning rate against optimizer steps. {'; '.join(parts)}."


def _metrics(experiment: Experiment) -> str:
    groups = experiment.untrained_groups | experiment.methods
    told = [f"{name}: " + ", ".join(_told(group)) for name, group in groups.items()]
    return f"Dot chart of metrics with 95 % intervals, base against finetuned. {'; '.join(told)}."


def _told(runs: tuple[Run | Baseline, ...]) -> list[str]:
    """Metrics of a method, the mean over its seeds or draws."""
    told = {name: middle for name, (_, middle, _, _) in over_seeds(runs).items()}
    return [
        f"{title(name)} {fixed(value) if name in ('text_loss', 'loss') else number(value)}"
        for name, value in told.items()
        if name not in ("perplexity", "bits_per_byte")
    ]


def _methods(experiment: Experiment) -> str:
    told = []
    for method, run in _each(experiment):
        record = run.training
        told.append(
            f"{method}: {count(record['trainable_parameters'])} trainable parameters, {size(record['weight_bytes'])} of "
            f"weights, {size(record['optimizer_bytes'])} of optimizer state, peak memory "
            f"{size(record['peak_memory_bytes'])}, {duration(record['wall_s'])}, held-out loss of the text {fixed(run.text_loss)}"
        )
    return f"Bar charts, a bar a method. {'; '.join(told)}. Base model: held-out loss of the text {fixed(experiment.base.text_loss)}."


def _lengths(experiment: Experiment) -> str:
    told = [
        f"{split}: {integer(line['rows'])} rows, {integer(line['min'])} to {integer(line['max'])} tokens, median "
        f"{integer(line['median'])}"
        for split, line in experiment.split_lengths().items()
    ]
    return f"Histogram of row lengths in tokens. {'; '.join(told)}. Rows are cut at {integer(experiment.lengths['max_length'])}."


def _search(experiment: Experiment) -> str:
    told = []
    for method, search in experiment.searches.items():
        diverged = f", {integer(search.diverged)} diverged" if search.diverged else ""
        told.append(
            f"{method}: {integer(len(search.trials))} trials reach validation losses of {fixed(min(search.losses))} to "
            f"{fixed(max(search.losses))}{diverged}; chosen {values_in_words(search.chosen.values)}"
        )
    return f"Dot chart of validation loss against what was searched, a dot a trial. {'; '.join(told)}."


def _confusion(experiment: Experiment) -> str:
    told = []
    for run in (experiment.base, experiment.runs[0]):
        labels = run.evaluation["labels"]
        lines = zip(labels, run.evaluation["confusion"], strict=True)
        right = [f"{integer(line[place])} of {integer(sum(line))} {label}" for place, (label, line) in enumerate(lines)]
        told.append(f"{run.method} gets {listed(right)} right")
    return f"Confusion matrices. {'; '.join(told)}."
