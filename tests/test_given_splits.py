"""Splits that a data set comes with: by files or by a column, kept as they are; what is not given is drawn from train."""

import json

import pytest

from tests.bad_data import ANSWERED, CSV, JSON, csv_of, prepared, prepared_from, sentence
from tunebook.errors import TunebookError

PARTS = {"train": range(60), "validation": range(100, 112), "test": range(200, 215)}
FILES = {"train": "train-*.csv", "validation": "dev.csv", "test": "test.csv"}


def rows_of(numbers):
    return [(sentence(number), f"answer {sentence(5000 + number)}") for number in numbers]


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "data"
    place.mkdir()
    for name, numbers in [
        ("train-1.csv", range(30)),
        ("train-2.csv", range(30, 60)),
        ("dev.csv", PARTS["validation"]),
        ("test.csv", PARTS["test"]),
    ]:
        (place / name).write_text(csv_of(rows_of(numbers)))
    return tmp_path


def split_of(folder, split, **rest):
    return prepared_from(folder, str(folder / "data"), CSV, **(ANSWERED | rest), split=split)


def test_files_are_the_splits(folder):
    frames, refusals, profile = split_of(folder, FILES)
    assert refusals == []
    for name, numbers in PARTS.items():
        assert list(frames[name]["prompt"]) == [sentence(number) for number in numbers]
    assert profile["splits"] == {name: len(numbers) for name, numbers in PARTS.items()}
    assert profile["warnings"] == []


def test_a_column_names_the_splits(tmp_path):
    words = {"train": "Train", "validation": "dev", "test": "test"}
    rows = [
        {"sentence": text, "label": answer, "part": words[name]}
        for name, numbers in PARTS.items()
        for text, answer in rows_of(numbers)
    ]
    frames, _, _ = prepared(tmp_path, json.dumps(rows), JSON, **ANSWERED, split={"column": "part"})
    for name, numbers in PARTS.items():
        assert list(frames[name]["prompt"]) == [sentence(number) for number in numbers]


@pytest.mark.parametrize("validation", [0.2, 12])
def test_what_is_not_given_is_drawn_from_train(folder, validation):
    (folder / "data" / "dev.csv").unlink()
    frames, _, _ = split_of(folder, {"train": "train-*", "test": "test.csv", "validation": validation})
    assert {name: len(frame) for name, frame in frames.items()} == {"train": 48, "validation": 12, "test": 15}
    assert list(frames["test"]["prompt"]) == [sentence(number) for number in PARTS["test"]]
    assert {*frames["train"]["prompt"], *frames["validation"]["prompt"]} == {sentence(n) for n in PARTS["train"]}


def test_files_that_are_not_named_are_train(folder):
    frames, _, _ = split_of(folder, {"validation": "dev.csv", "test": "test.csv"})
    assert {name: len(frame) for name, frame in frames.items()} == {"train": 60, "validation": 12, "test": 15}


@pytest.fixture
def leaking(folder):
    """Train holds two rows of test, one of them twice and one nearly, and test holds one of its own rows twice."""
    extra = [rows_of([200])[0], rows_of([200])[0], (sentence(201) + "!", rows_of([201])[0][1])]
    (folder / "data" / "train-2.csv").write_text(csv_of(rows_of(range(30, 60)) + extra))
    (folder / "data" / "test.csv").write_text(csv_of(rows_of([*PARTS["test"], 203])))
    return folder


def test_given_splits_are_kept_and_copies_across_them_reported(leaking):
    frames, _, profile = split_of(leaking, FILES)
    assert {name: len(frame) for name, frame in frames.items()} == {"train": 63, "validation": 12, "test": 16}
    assert profile["crossing_copies"] == 2
    assert {(pair["row"], pair["copy_of"]) for pair in profile["crossing"]} == {
        ("test.csv:2", "train-2.csv:32"),
        ("test.csv:3", "train-2.csv:34"),
    }
    assert profile["warnings"] == [
        "2 rows of the given validation and test splits have a copy in train (profile.json shows some); split.drop_copies "
        "takes such rows out of train"
    ]


def test_copies_leave_train_on_request_and_no_held_out_row(leaking):
    frames, _, profile = split_of(leaking, FILES | {"drop_copies": True})
    assert {name: len(frame) for name, frame in frames.items()} == {"train": 60, "validation": 12, "test": 16}
    assert (profile["crossing_copies"], profile["exact_duplicates"], profile["near_duplicates"]) == (0, 2, 1)
    assert profile["warnings"] == []


def test_a_split_drawn_from_train_has_no_copy_in_it(leaking):
    frames, _, profile = split_of(leaking, {"test": "test.csv", "validation": 20, "train": "[td][re][av]*"})
    assert len(frames["test"]) == 16
    assert profile["exact_duplicates"] == 1
    copied = {sentence(200), sentence(201) + "!"}  # of test: train's own, but for those that were drawn for validation
    assert profile["crossing_copies"] == len(copied & set(frames["train"]["prompt"])) > 0
    assert not set(frames["train"]["prompt"]) & set(frames["validation"]["prompt"])


def test_labels_and_groups_hold_for_what_is_drawn(folder):
    frames, _, _ = split_of(folder, {"test": "test.csv", "validation": 10})
    assert len(frames["test"]) == 15
    assert len(frames["validation"]) == 10


# split, what the message must say
WRONG = [
    ({"test": "tset.csv"}, "split.test is 'tset.csv', and no file of the source is; its files: dev.csv, test.csv, train-1"),
    ({"test": "*.csv", "validation": "dev.csv"}, "dev.csv is in split.validation and in split.test; name it once"),
    ({"train": "train-1.csv", "test": "test.csv"}, "dev.csv, train-2.csv is in no split; name it, or leave it out of the source"),
    ({"column": "part"}, "split.column part holds '' (87x); allowed: train, validation, test, training, valid, val, dev"),
    ({"column": "sentence"}, "the columns are: sentence, label"),
]  # fmt: skip


@pytest.mark.parametrize(("split", "message"), WRONG)
def test_splits_that_fit_nothing_are_refused(folder, split, message):
    with pytest.raises(TunebookError) as error:
        split_of(folder, split)
    assert message in str(error.value)
