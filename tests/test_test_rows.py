"""Test rows in the report: which are shown, what they are called, and the file with all of them."""

from __future__ import annotations

import pandas
import pytest

from tests.records import fake_study
from tunebook.records import write_parquet
from tunebook.reporting import test_rows
from tunebook.reporting.study_folder import read_study
from tunebook.tables import write_tables

LABELS = ["positive", "neutral", "negative"]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A study whose labelled experiment answers: base always positive; int8-lora right but for each fifth row."""
    folder = fake_study(tmp_path_factory.mktemp("study"), experiments=2, methods=3, seeds=2, rows=30)
    for file in folder.glob("runs/experiment-0/*/seed-*/predictions.parquet"):
        frame = pandas.read_parquet(file)
        right = [LABELS[row % 3] for row in range(30)]
        given = ["positive"] * 30 if "/base/" in str(file) else right.copy()
        if "/base/" not in str(file):
            given[::5] = ["Neutral "] * 6  # as models write it
        told = {"reference": right, "prediction": given}
        told["correct"] = [one.strip().casefold() == other for one, other in zip(given, right, strict=True)]
        write_parquet(file, frame.assign(**told))
    return read_study(folder)


def test_wrong_answers_come_first_and_then_the_highest_losses(study):
    rows, count = test_rows.shown_rows(study.experiments[0], "int8-lora")
    assert count == len(rows) == 30
    wrong = ["wrong" in row.tags for row in rows]
    assert wrong == sorted(wrong, reverse=True)
    assert sum(wrong) == 4  # two of the six that were answered neutral are
    rest = [row.loss for row in rows if "wrong" not in row.tags]
    assert rest == sorted(rest, reverse=True)


def test_tags_are_turns_and_cells_of_the_confusion_matrix(study):
    rows, _ = test_rows.shown_rows(study.experiments[0], "int8-lora")
    tags = {row.row: row.tags for row in rows}
    assert tags["r0"][:3] == ("wrong", "became wrong", "positive answered as neutral")
    assert tags["r1"][:2] == ("became right", "neutral answered as neutral")
    assert tags["r3"][:1] == ("positive answered as positive",)
    confusion = [tag for row in rows for tag in row.tags if tag.startswith("negative answered")]
    assert (confusion.count("negative answered as negative"), confusion.count("negative answered as neutral")) == (8, 2)


def test_only_so_many_are_shown_and_the_file_has_all(study, tmp_path, monkeypatch):
    monkeypatch.setattr(test_rows, "MOST_ROWS", 7)
    rows, count = test_rows.shown_rows(study.experiments[1], "full")
    assert (len(rows), count) == (7, 30)
    write_tables(study, tmp_path)
    table = pandas.read_csv(tmp_path / "rows-experiment-1.csv")
    assert len(table) == 30
    run = study.experiments[1].methods["full"]
    means = sum(one.scores["text_loss"].to_numpy() for one in run) / 2
    assert table["full_text_loss"].to_numpy() == pytest.approx(means)
    highest = table.sort_values("full_text_loss", ascending=False)["row"].head(7)
    assert [row.row for row in rows] == list(highest)


def test_the_gap_is_between_methods_and_needs_two(study):
    rows, _ = test_rows.shown_rows(study.experiments[1], "full")
    table = test_rows.rows_frame(study.experiments[1]).set_index("row")
    losses = [table.loc[rows[0].row, f"{method}_text_loss"] for method in study.experiments[1].methods]
    assert rows[0].gap == pytest.approx(max(losses) - min(losses))
    assert test_rows.shown_rows(study.experiments[0], "int8-lora")[0][0].gap is None


@pytest.mark.parametrize(
    ("answer", "right"), [("It is Gout, I think.", True), ("It is asthma.", False), ("", False), (None, None)]
)
def test_an_answer_without_labels_is_right_where_it_names_the_key_term(answer, right):
    assert test_rows._names_term(answer, "This suggests gout.", "suggests (.+?)\\.") is right
    assert test_rows._names_term(answer, "No term here.", "suggests (.+?)\\.") is None
    assert test_rows._names_term(answer, "This suggests gout.", None) is None


def test_long_texts_are_cut_and_hostile_ones_are_text(study):
    assert len(test_rows._cut("x" * 999)) == test_rows.CHARACTERS + 1
    assert test_rows._cut("a\x00b") == "a\\x00b"
    assert test_rows._cut(None) is None
