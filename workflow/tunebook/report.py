"""Stage `report`: everything below a study's folder bound into one self-contained HTML file.

The words and looks are in the templates (`report/`); this module gathers the numbers. It reads records only.
"""

from __future__ import annotations

import argparse
import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jinja2
import markupsafe
import pandas

from tunebook.data.rows import Message, spoken
from tunebook.deployment import TEMPLATES, release
from tunebook.errors import TunebookError
from tunebook.records import write_text
from tunebook.reporting import metrics, provenance_tables, report_tables, text_metrics, typeset
from tunebook.reporting.answers import exchanges
from tunebook.reporting.comparison import (
    CHOICE_RULE,
    FEW_ROWS,
    Choice,
    choose,
    correct_pair,
    loss_difference,
    too_small,
)
from tunebook.reporting.contests import LABELS_RULE, against_examples
from tunebook.reporting.curves import RUNNING_MEAN
from tunebook.reporting.diagnosis import RULES, diagnose_run, validated_words
from tunebook.reporting.figure_names import figure_names
from tunebook.reporting.figure_words import alternative
from tunebook.reporting.frames import build_tables
from tunebook.reporting.head_words import head_words
from tunebook.reporting.inline_svg import inline
from tunebook.reporting.mending import mending, turn
from tunebook.reporting.published import REPRODUCED_RULE, comparability
from tunebook.reporting.search_tables import search_facts, search_table, trials_table
from tunebook.reporting.side_effects import int8_methods, quantized_methods, side_effects_table
from tunebook.reporting.study_folder import Experiment, Run, Study, read_study
from tunebook.reporting.summary import summary
from tunebook.reporting.test_rows import shown_rows
from tunebook.statistics.paired import LEVEL, Difference, mcnemar

EXAMPLE_CHARACTERS = 400


def render(study: Study, templates: Path) -> str:
    """The report as HTML text. Args: templates: the folder with report.html.j2 and style.css."""
    loader = jinja2.FileSystemLoader(templates)
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, lstrip_blocks=True
    )
    names = (
        "number",
        "fixed",
        "signed",
        "integer",
        "percent",
        "count",
        "size",
        "duration",
        "plain",
        "listed",
        "visible",
    )
    environment.filters |= {name: getattr(typeset, name) for name in names}
    environment.globals["file"] = lambda name: markupsafe.Markup((templates / name).read_text(encoding="utf-8"))
    try:
        return environment.get_template("report.html.j2").render(context(study)).lstrip()
    except jinja2.TemplateNotFound as error:
        raise TunebookError(f"{templates}: no template {error.name}; give the project's report/ folder") from None


def context(study: Study) -> dict[str, Any]:
    """Everything that the templates may name."""
    tables = build_tables(study)
    parts = [experiment_part(study, experiment, tables) for experiment in study.experiments]
    set_side_by_side(parts)
    seeds = any(len(runs) > 1 for experiment in study.experiments for runs in experiment.methods.values())
    return {
        "study": study.record,
        "experiments": parts,
        "summary": summary(study, parts),
        "methods_table": report_tables.summary_table([*method_lines(parts)]) if seeds else None,
        "runs_table": report_tables.summary_table([*run_lines(parts)], "runs"),
        "csv": {"runs": _data_uri(tables["runs"])},
        "definitions": definitions(study),
        "rules": RULES,
        "labelled": any(experiment.has_labels for experiment in study.experiments),
        "labels_rule": LABELS_RULE,
        "reproduced_rule": REPRODUCED_RULE,
        "choice_rule": CHOICE_RULE,
        "few_rows": FEW_ROWS,
        "running_mean": RUNNING_MEAN,
        "fewest_answers": text_metrics.FEWEST,
        "provenance": provenance(study),
    }


def experiment_part(study: Study, experiment: Experiment, tables: dict[str, pandas.DataFrame]) -> dict[str, Any]:
    """One experiment's section. Args: tables: `frames.build_tables` of the study."""
    choice = choose(experiment)
    chosen = experiment.methods[choice.method][0] if choice else experiment.runs[0]
    pairs, left_out = exchanges(experiment, chosen)
    rows, all_rows = shown_rows(experiment, chosen.method)
    return {
        "experiment": experiment,
        "against_examples": against_examples(experiment, experiment.methods[chosen.method]),
        "chosen": chosen,
        "choice": choice,
        "runs": [run_part(experiment, run) for run in experiment.runs],
        "rivalry": rivalry(experiment, choice),
        "head_words": head_words(experiment.base.evaluation.get("head")),
        "synthetic": experiment.dataset["synthetic"] or experiment.profile["synthetic"],
        "assembled": experiment.model["encoder_decoder"],  # of parts never trained together: the base cannot answer
        "comparability": comparability(experiment) if experiment.spec["published"] else None,
        "wide": len(experiment.methods) > 1,
        "refused": sum(experiment.profile["rejected"].values()),
        "validated": validated_words(experiment, chosen),
        "search": search_facts(experiment),
        "memorised": "verbatim_training" in experiment.base.metrics,
        "quantized": quantized_methods(experiment),
        "int8": int8_methods(experiment),
        "seen": chosen.evaluation.get("memorisation", {}).get("training_rows_seen", 0),
        "decoding": decoding(experiment.base),
        "caution": experiment.dataset["caution"],
        "examples": [_example(row) for row in experiment.profile["examples"]],
        "figures": [
            figure_part(study, experiment, name)
            for name in figure_names(experiment.has_labels, bool(experiment.searches))
        ],
        "csv": {name: _data_uri(frame[frame["experiment"] == experiment.name]) for name, frame in tables.items()},
        "test_rows": rows,
        "test_rows_all": all_rows,
        "test_rows_answered": any(row.after is not None for row in rows),
        "exchanges": pairs,
        "exchanges_left_out": left_out,
        "tables": {
            "losses": report_tables.losses_table(experiment),
            "published": report_tables.published_table(experiment) if experiment.spec["published"] else None,
            "grounds": report_tables.grounds_table(experiment) if experiment.spec["published"] else None,
            "metrics": report_tables.metrics_table(experiment),
            "contests": report_tables.contests_table(experiment),
            "loss_contests": report_tables.loss_contests_table(experiment),
            "side_effects": side_effects_table(experiment),
            "methods": report_tables.methods_table(experiment),
            "arguments": provenance_tables.arguments_table(experiment),
            "labels": report_tables.labels_table(chosen) if experiment.has_labels else None,
            "search": search_table(experiment) if experiment.searches else None,
            "trials": trials_table(experiment) if experiment.searches else None,
        },
    }


def set_side_by_side(parts: list[dict[str, Any]]) -> None:
    """Tell each experiment that mends another, and the other, of each other: `mends` and `mended_by`."""
    by_name = {part["experiment"].name: part for part in parts}
    for part in parts:
        part |= {"mends": None, "mended_by": []}
    for part in parts:
        if name := part["experiment"].spec["mends"]:
            other = by_name[name]
            told = mending(other["experiment"], part["experiment"], other["chosen"], part["chosen"])
            part["mends"] = {"part": other, "told": told}
            other["mended_by"].append({"part": part, "told": told})


def run_part(experiment: Experiment, run: Run) -> dict[str, Any]:
    """One run: its paired difference to the base model, its verdicts, its outcome in a word."""
    verdicts = diagnose_run(experiment, run)
    difference = loss_difference((run,), (experiment.base,))
    pair = correct_pair(run, experiment.base) if experiment.has_labels else None
    p = mcnemar(*pair) if pair else None
    return {
        "run": run,
        "verdicts": verdicts,
        "found": [verdict for verdict in verdicts if verdict.found],
        "difference": difference,
        "outcome": outcome(experiment, difference),
        "against_examples": against_examples(experiment, (run,)),
        "mcnemar": p,
        "mcnemar_shown": p is not None and p < LEVEL,
        "accuracy": run.evaluation["metrics"].get("accuracy"),
        "turn": turn(run),
        "validated": validated_words(experiment, run),
    }


def run_lines(parts: list[dict[str, Any]]) -> Iterator[report_tables.Line]:
    """The summary's lines, a line a run."""
    for part in parts:
        for run in part["runs"]:
            told = run["outcome"], run["against_examples"], tuple(run["found"])
            yield report_tables.Line(part["experiment"], (run["run"],), *told)


def method_lines(parts: list[dict[str, Any]]) -> Iterator[report_tables.Line]:
    """The summary's lines, a line a method: all its seeds against the base model."""
    for part in parts:
        experiment = part["experiment"]
        for method, runs in experiment.methods.items():
            told = outcome(experiment, loss_difference(runs, (experiment.base,)))
            found = tuple(v for run in part["runs"] if run["run"].method == method for v in run["found"])
            yield report_tables.Line(experiment, runs, told, against_examples(experiment, runs), found)


def outcome(experiment: Experiment, difference: Difference) -> tuple[str, str]:
    """(kind, words) for the loss of a run, or of a method's runs, minus its base's."""
    if not difference.shown:
        return "quiet", "no difference shown"
    if too_small(experiment, difference):
        return "quiet", f"{'better' if difference.mean < 0 else 'worse'} than base, too little to matter"
    few = f", on {typeset.integer(difference.rows)} rows only" if difference.rows < FEW_ROWS else ""
    return ("good", f"better than base{few}") if difference.mean < 0 else ("bad", f"worse than base{few}")


def rivalry(experiment: Experiment, choice: Choice | None) -> list[dict[str, Any]]:
    """Each method against the one of lowest validation loss: on the validation rows, which decide, and on the test rows.
    Empty where there is one method only."""
    if choice is None:
        return []
    methods = experiment.methods
    return [
        {
            "method": method,
            "best": choice.best,
            "validation": difference,
            "test": loss_difference(methods[method], methods[choice.best]),
        }
        for method, difference in choice.differences.items()
    ]


def decoding(base: Run) -> dict[str, Any]:
    """How answers were decoded, and which settings of the model's own were set aside, as (key, value) in JSON."""
    told = base.evaluation.get("decoding", {"in_force": {}, "set_aside": {}})
    return {name: [(key, typeset.json_text(value, None)) for key, value in told[name].items()] for name in told}


def figure_part(study: Study, experiment: Experiment, name: str) -> dict[str, Any]:
    """One figure: its kind, the inlined SVG, the text for screen readers, its data."""
    kind = name.removesuffix(".svg")
    path = study.folder / "figures" / experiment.name / name
    if not path.exists():
        raise TunebookError(
            f"{path}: no such figure; run: python -m tunebook figures --study {study.folder / 'study.json'} "
            f"--experiment {experiment.name} --output {path.parent}"
        )
    words = alternative(kind, experiment)
    data = {
        "loss": report_tables.curve_table,
        "training": report_tables.gradient_table,
        "lengths": report_tables.lengths_table,
        "confusion": lambda one: report_tables.confusion_table(one.runs[0]),
    }
    return {
        "kind": kind,
        "alternative": words,
        "svg": markupsafe.Markup(inline(path.read_text(encoding="utf-8"), f"{experiment.name}-{kind}", words)),
        "table": data[kind](experiment) if kind in data else None,
    }


def definitions(study: Study) -> list[tuple[str, str]]:
    """(metric, its definition) for the metrics that occur in the study and are defined by the code that measures them."""
    defined = metrics.known()
    occurring = ("text_loss", "loss", "perplexity", "bits_per_byte")
    runs = [run for experiment in study.experiments for run in (experiment.base, *experiment.runs)]
    names = dict.fromkeys([*occurring, *(name for run in runs for name in run.metrics)])
    baselines = {one.method: one.evaluation["definition"] for e in study.experiments for one in e.baselines}
    told = [(defined[name].title, defined[name].definition) for name in names if name in defined]
    return [*told, *((f"{name} (baseline)", sentence) for name, sentence in baselines.items())]


def provenance(study: Study) -> dict[str, Any]:
    """Where everything is from, and with what it was made."""
    versions: dict[str, list[str]] = {}
    for run in study.runs:
        for package, version in run.training["versions"].items():
            if version not in versions.setdefault(package, []):
                versions[package].append(str(version))
    for experiment in study.experiments:
        for baseline in experiment.baselines:
            for package, version in baseline.versions.items():
                if version not in versions.setdefault(package, []):
                    versions[package].append(version)
    return {
        "models": provenance_tables.sources_table(study, "models"),
        "datasets": provenance_tables.sources_table(study, "datasets"),
        "runs": provenance_tables.identities_table(study),
        "versions": versions,
        "release": release(),
        "config": typeset.json_text(study.record["config"]),
    }


def _example(row: dict[str, Any]) -> list[tuple[str, str]]:
    """A sample row's fields as (name, text), long ones cut; a conversation as a line a turn."""
    fields = {key: value for key, value in row.items() if value not in (None, "", []) and not key.startswith("_")}
    return [(key, typeset.visible(_cut(value))) for key, value in fields.items()]


def _cut(value: Any) -> str:
    if isinstance(value, list):
        value = "\n".join(f"{message.role}: {spoken(message)}" for message in map(Message.read, value))
    text = str(value)
    return text if len(text) <= EXAMPLE_CHARACTERS else f"{text[:EXAMPLE_CHARACTERS]}…"


def _data_uri(frame: pandas.DataFrame) -> str:
    """A frame as a CSV file inside a link, in full precision."""
    return "data:text/csv;charset=utf-8;base64," + base64.b64encode(frame.to_csv(index=False).encode()).decode()


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--study", type=Path, required=True, help="study.json")
    parser.add_argument("--templates", type=Path, default=TEMPLATES, help="the folder of the report's templates")
    parser.add_argument("--output", type=Path, required=True, help="the HTML file to write")


def main(args: argparse.Namespace) -> None:
    write_text(args.output, render(read_study(args.study.parent), args.templates))
