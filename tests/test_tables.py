"""The tables: what a record says stands in them, unrounded, and comparisons say no more than rows show."""

import json
import math
import re
from dataclasses import replace

import pandas
import pytest

from tests.records import fake_study
from tunebook.errors import TunebookError
from tunebook.records import read_json, write_json, write_parquet
from tunebook.report import outcome
from tunebook.reporting.comparison import best_methods, choose, loss_difference
from tunebook.reporting.contests import AgainstExamples, against_examples, loss_contests
from tunebook.reporting.diagnosis import diagnose_run
from tunebook.reporting.frames import build_tables, losses_of
from tunebook.reporting.latex import escape, latex, latex_page
from tunebook.reporting.report_tables import Line, losses_table, methods_table, metrics_table, summary_table
from tunebook.reporting.study_folder import read_study
from tunebook.statistics.paired import Difference
from tunebook.tables import markdown, write_tables


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return read_study(fake_study(tmp_path_factory.mktemp("study"), experiments=3, methods=4, seeds=2))


@pytest.fixture(scope="module")
def tables(study):
    return build_tables(study)


def test_one_line_a_run(study, tables):
    assert len(tables["runs"]) == len(study.runs) == 2 * (1 + 1 + 4)
    assert len(tables["methods"]) == len(study.runs) + len(study.experiments)  # the base runs too
    line = tables["runs"].iloc[0]
    assert line["base_text_loss"] - line["text_loss"] == pytest.approx(3.0 - study.runs[0].text_loss)
    assert (line["base_loss"], line["loss"]) == (3.5, study.runs[0].loss)  # with end tokens
    assert line["text_loss_gain_low"] < line["text_loss_gain"] < line["text_loss_gain_high"]


def test_losses_have_the_documented_columns(tables):
    assert tables["losses"].columns.tolist() == [
        "experiment", "method", "seed", "epoch", "training_loss", "validation_loss", "published_training_loss",
        "published_validation_loss",
    ]  # fmt: skip
    assert tables["losses"]["training_loss"].notna().all()


def test_published_losses_stand_beside_the_same_epoch(study):
    table = losses_of(study.experiments[0], study.experiments[0].runs[0])
    assert table["epoch"].tolist() == [1.0, 2.0]
    assert table["published_validation_loss"].tolist() == [0.111, 0.333]
    assert math.isnan(table["published_training_loss"][0])


def test_a_part_of_an_epoch_stands_beside_no_published_one(study):
    experiment, run = study.experiments[0], study.experiments[0].runs[0]
    short = run.history[run.history["epoch"] <= 0.5]
    run = type(run)(**{**{key: getattr(run, key) for key in run.__dataclass_fields__}, "history": short})
    table = losses_of(experiment, run)
    assert table["epoch"].tolist() == [0.5, 1.0, 2.0]
    assert table["published_validation_loss"].fillna(0).tolist() == [0, 0.111, 0.333]
    assert table["training_loss"].isna().tolist() == [False, True, True]
    assert [row[1].text for row in losses_table(replace(experiment, runs=(run, run))).rows] == ["0.5", "0.5"]


def test_metrics_hold_intervals_and_the_base_run(tables):
    metrics = tables["metrics"].set_index(["experiment", "method", "seed", "metric"])
    base = metrics.loc[("experiment-0", "base", 0, "accuracy")]
    assert base.tolist() == pytest.approx([0.4, 0.35, 0.45, 30])
    perplexity = metrics.loc[("experiment-0", "base", 0, "perplexity")]
    assert perplexity.tolist() == pytest.approx([math.exp(3.5), math.exp(3.4), math.exp(3.6), 30])
    answered = metrics.loc[("experiment-1", "base", 0, "stop_rate")]
    assert answered["value"] == 0
    assert math.isnan(answered["low"])  # two answers: no interval
    assert answered["rows"] == 2


def test_seeds_are_told_as_mean_and_range(study, tables):
    runs = study.experiments[-1].methods["qlora"]
    losses = [run.loss for run in runs]
    accuracies = [run.metrics["stop_rate"] for run in runs]
    lines = tables["seeds"].set_index(["experiment", "method", "metric"]).sort_index().loc[("experiment-2", "qlora")]
    assert lines.loc["loss"].tolist() == pytest.approx([2, sum(losses) / 2, min(losses), max(losses)])
    assert lines.loc["stop_rate"].tolist() == pytest.approx([2, sum(accuracies) / 2, min(accuracies), max(accuracies)])
    assert not (tables["seeds"]["method"] == "base").any()  # it has no seed
    draws = (
        tables["seeds"]
        .set_index(["experiment", "method", "metric"])
        .loc[("experiment-2", "base, 2 examples", "text_loss")]
    )
    assert draws.tolist() == pytest.approx([3, 2.5, 2.4, 2.6])


def test_the_report_shows_range_over_seeds_in_the_place_of_an_interval_over_rows(study):
    row = next(row for row in metrics_table(study.experiments[-1]).rows if row[0].text == "loss of the text")
    assert row[1].note == "2.90 to 3.10"  # base, then base with examples
    assert row[2].note == "2.40 to 2.60 over 3 draws"
    assert row[3].text == "–"  # retrieval has no loss
    assert all(cell.note.endswith("over 2 seeds") for cell in row[4:])
    assert all("over 2 seeds" in row[-1].note for row in methods_table(study.experiments[-1]).rows[1:])


def test_files_keep_full_precision(study, tmp_path):
    write_tables(study, tmp_path)
    names = ("losses", "published", "runs", "metrics", "seeds", "comparisons", "methods", "search")
    rows = (f"rows-experiment-{place}" for place in range(3))
    expected = {"tables.md", "tables.tex", *(f"{name}.csv" for name in (*names, *rows))}
    assert {path.name for path in tmp_path.iterdir() if not path.name.startswith(".")} == expected
    again = pandas.read_csv(tmp_path / "runs.csv")
    assert again["loss"].tolist() == [run.loss for run in study.runs]
    text = (tmp_path / "tables.md").read_text(encoding="utf-8")
    assert text.startswith("# Fake study: tables\n")
    assert text.count("\n## ") == 7


def test_methods_are_compared_with_examples_in_the_prompt_row_by_row(study, tables):
    lines = tables["comparisons"].set_index(["experiment", "test", "left", "right"]).sort_index()
    line = lines.loc[("experiment-2", "loss", "lora", "base, 2 examples")]
    experiment = study.experiments[2]
    draws = experiment.untrained_groups["base, 2 examples"]
    expected = loss_difference(experiment.methods["lora"], draws)
    assert len(draws) == 3
    first = loss_difference(experiment.methods["lora"], experiment.baselines[:1])
    assert expected.mean != pytest.approx(first.mean)  # never the first draw alone
    assert against_examples(experiment, experiment.methods["lora"]).difference == expected
    assert line[["rows", "difference", "low", "high"]].tolist() == [30, expected.mean, expected.low, expected.high]
    assert line["difference"] != lines.loc[("experiment-2", "loss", "lora", "base"), "difference"]
    assert line["verdict"] == ("no difference shown" if expected.low < 0 < expected.high else "lora has the lower loss")
    assert ("experiment-2", "loss", "full", "qlora") in lines.index
    assert ("experiment-2", "answers", "lora", "base") not in lines.index  # no labels
    answers = lines.loc[("experiment-0", "answers", "int8-lora", "TF-IDF")]
    right = [run.scores["correct"].mean() for run in study.experiments[0].methods["int8-lora"]]
    assert len(right) == 2  # all seeds count, so no rows are those that one run alone gets right
    assert answers["difference"] == pytest.approx(sum(right) / 2 - 0.8)
    assert pandas.isna(answers["only_left"])


def test_words_against_examples_follow_the_interval():
    words = {
        (-0.3, -0.1): ("good", "better than 4 examples in the prompt"),
        (0.1, 0.3): ("bad", "worse than 4 examples in the prompt"),
        (-0.1, 0.3): ("quiet", "not distinguishable from 4 examples in the prompt"),
    }
    for (low, high), expected in words.items():
        told = AgainstExamples(Difference((low + high) / 2, low, high, 96), 4, 5)
        assert (told.kind, told.words) == expected


def test_a_metric_of_another_text_says_its_n_even_where_the_test_rows_are_as_many(tmp_path):
    experiment = read_study(fake_study(tmp_path, experiments=2, rows=6)).experiments[1]
    rows = {row[0].text: row for row in metrics_table(experiment).rows}
    assert experiment.base.evaluation["rows"] == experiment.base.rows_of("neutral_loss") == 6
    assert rows["loss on a neutral text"][1].note == "n = 6, no interval"
    assert "n =" not in rows["loss of the text"][1].note


def test_markdown_escapes_what_would_end_a_cell():
    text = markdown(pandas.DataFrame({"a": ["x|y\nz"], "b": [None], "c": [0.123456], "d": [True]}))
    assert text.splitlines()[2] == "| x\\|y z |  | 0.1235 | True |"


def test_an_unfinished_run_is_named(tmp_path):
    folder = fake_study(tmp_path, experiments=1)
    (folder / "runs/experiment-0/int8-lora/seed-1/evaluation.json").unlink()
    with pytest.raises(TunebookError, match=r"1 of 2 runs .*experiment-0/int8-lora/seed-1.*run snakemake again"):
        read_study(folder)


def test_a_broken_record_is_named(tmp_path):
    folder = fake_study(tmp_path, experiments=1)
    (folder / ".study.json.sha256").unlink()
    (folder / "study.json").write_text('{"study":')
    with pytest.raises(TunebookError, match=r"study\.json: not JSON"):
        read_study(folder)


def test_among_equals_the_method_of_least_memory_is_chosen(study, tmp_path):
    experiment = study.experiments[-1]
    choice = choose(experiment)
    assert choice.best in choice.rivals
    memory = {name: runs[0].training["peak_memory_bytes"] for name, runs in experiment.methods.items()}
    assert memory[choice.method] == min(memory[name] for name in choice.rivals)
    assert choose(study.experiments[0]) is None  # one method is no choice


def shifted(folder, experiment, method, by):
    """Raise the validation losses of a fake run, and nothing else."""
    place = folder / "runs" / experiment / method / "seed-1"
    record = json.loads((place / "training.json").read_text())
    raised = record["best_validation_loss"] + by
    write_json(place / "training.json", record | {"best_validation_loss": raised})
    frame = pandas.read_parquet(place / "validation.parquet")
    write_parquet(place / "validation.parquet", frame.assign(loss=frame["loss"] + by))


def test_a_method_shown_to_be_worse_on_validation_rows_is_not_chosen(tmp_path):
    folder = fake_study(tmp_path, experiments=1, methods=4)
    for name in ("qlora", "int8-lora"):  # the two that need least memory
        shifted(folder, "experiment-0", name, by=1)
    experiment = read_study(folder).experiments[0]
    choice = choose(experiment)
    assert set(choice.rivals) == {"full", "lora"}
    assert choice.method == "lora"


def test_the_test_rows_take_no_part_in_the_choice(tmp_path):
    folder = fake_study(tmp_path, experiments=1, methods=4)
    before = choose(read_study(folder).experiments[0])
    place = folder / "runs/experiment-0" / before.method / "seed-1"
    record = json.loads((place / "evaluation.json").read_text())
    write_json(place / "evaluation.json", record | {"text_loss": record["text_loss"] + 1})
    frame = pandas.read_parquet(place / "predictions.parquet")
    write_parquet(place / "predictions.parquet", frame.assign(text_loss=frame["text_loss"] + 1))
    after = read_study(folder).experiments[0]
    assert choose(after).method == before.method
    other = next(name for name in after.methods if name != before.method)
    assert loss_difference(after.methods[before.method], after.methods[other]).shown


def test_a_difference_too_small_to_matter_is_no_verdict(tmp_path):
    folder = fake_study(tmp_path, experiments=2, methods=4, seeds=2)
    record = read_json(folder / "study.json")
    record["experiments"]["experiment-1"]["smallest_relevant_difference"] = 5.0
    write_json(folder / "study.json", record)
    experiment = read_study(folder).experiments[1]
    runs = experiment.methods["lora"]
    difference = loss_difference(runs, (experiment.base,))
    assert difference.shown
    assert outcome(experiment, difference) == ("quiet", "better than base, too little to matter")
    contest = next(one for one in loss_contests(experiment) if (one.left, one.right) == ("lora", "base"))
    assert contest.words == "lora has the lower loss, too little to matter"
    assert not contest.matters
    assert set(choose(experiment).rivals) == set(experiment.methods)


def test_the_summary_has_a_line_a_method_with_all_its_seeds(tmp_path):
    study = read_study(fake_study(tmp_path, experiments=2, methods=3, seeds=2))
    experiment = study.experiments[1]
    runs = experiment.methods["full"]
    found = tuple(v for run in runs for v in diagnose_run(experiment, run) if v.found)
    line = Line(experiment, runs, ("good", "better than base"), None, found)
    table = summary_table([line])
    assert [column.label for column in table.columns][1:4] == ["Method", "Seeds", "Held-out loss of the text"]
    row = table.rows[0]
    losses = [run.text_loss for run in runs]
    assert row[3].sort == pytest.approx(sum(losses) / 2)
    assert row[3].note == f"{min(losses):.3f} to {max(losses):.3f}"
    assert ("overfitting: all seeds", True) in row[-1].tags
    alone = tuple(v for v in found if v.rule == "overfitting")[:1]
    assert summary_table([replace(line, findings=alone)]).rows[0][-1].tags == (("overfitting: 1 of 2 seeds", True),)


def test_the_best_and_what_is_not_shown_to_differ_from_it_stand_in_bold(tmp_path):
    experiment = read_study(fake_study(tmp_path, experiments=2, methods=12, seeds=2, rows=400)).experiments[1]
    losses = {name: sum(run.text_loss for run in runs) for name, runs in experiment.methods.items()}
    first = min(losses, key=losses.__getitem__)
    bold = best_methods(experiment, "text_loss")
    assert first in bold
    for name, runs in experiment.methods.items():
        shown = loss_difference(runs, experiment.methods[first]).shown
        assert (name in bold) == (name == first or not shown)
    assert 1 < len(bold) < 12
    row = next(row for row in metrics_table(experiment).rows if row[0].text == "loss of the text")
    kinds = dict(zip((*experiment.untrained_groups, *experiment.methods), (each.kind for each in row[1:]), strict=True))
    assert {name for name, kind in kinds.items() if kind == "best"} == set(bold)
    assert best_methods(experiment, "answer_tokens") == ()  # neither end is better
    assert best_methods(experiment, "rouge_l") == ()  # over fewer than ten answers


def test_latex_prints_what_it_would_read_as_a_command():
    assert escape(r"50 % of $x_1 & {a}#~^\b<c>") == (
        r"50 \% of \$x\_1 \& \{a\}\#\textasciitilde{}\textasciicircum{}\textbackslash{}b\textless{}c\textgreater{}"
    )
    assert escape("a\nb\N{MINUS SIGN}1") == "a b$-$1"
    assert escape("3.4 × 10⁻⁸") == r"3.4 $\times$ 10$^{-}$$^{8}$"


def test_tables_are_floats_with_the_rules_of_booktabs(study):
    experiment = study.experiments[2]
    text = latex(metrics_table(experiment), "Experiment 2: metrics", "experiment-2-metrics")
    width = len(metrics_table(experiment).columns)
    assert text.startswith(
        "\\begin{table}\n\\centering\n\\caption{Experiment 2: metrics}\n\\label{tab:experiment-2-metrics}\n"
    )
    for rule in (r"\toprule", r"\midrule", r"\bottomrule", r"\end{tabular}", r"\end{table}"):
        assert text.count(rule) == 1
    lines = [line for line in text.splitlines() if line.endswith(r" \\")]
    assert all(len(re.findall(r"(?<!\\)&", line)) == width - 1 for line in lines)
    assert r"\textbf{" in text  # the best
    page = latex_page(study)
    labels = re.findall(r"\\label\{(.+?)\}", page)
    assert len(labels) == len(set(labels)) == 4 * len(study.experiments)
    opened, closed = (re.findall(rf"\\{word}\{{(\w+)\}}", page) for word in ("begin", "end"))
    assert sorted(opened) == sorted(closed)
    assert len(re.findall(r"(?<!\\)\{", page)) == len(re.findall(r"(?<!\\)\}", page))


def test_markdown_writes_counts_whole_and_bytes_in_units():
    frame = pandas.DataFrame({"rows": [12345.0], "peak_memory_bytes": [1.5e9], "loss": [2.34567]})
    assert markdown(frame).splitlines()[2] == "| 12345 | 1.50\u202fGB | 2.346 |"


def test_the_summary_says_how_often_answers_name_the_key_term(tmp_path):
    folder = fake_study(tmp_path, experiments=2, methods=2)
    record = read_json(folder / "study.json")
    record["experiments"]["experiment-1"]["key_term"] = "so (little) time"
    write_json(folder / "study.json", record)
    experiment = read_study(folder).experiments[1]
    row = summary_table([Line(experiment, experiment.methods["full"], ("good", "better"), None, ())])
    place = [column.label for column in row.columns].index("Right answers")
    shown = row.rows[0][place]
    before, after = (run.metrics["key_term"] for run in (experiment.base, experiment.methods["full"][0]))
    assert (before, after) == (0, 0)  # the one held-out answer is another text
    assert (shown.text, shown.note) == ("0\u202f% → 0\u202f%", "key term named, n = 1")
