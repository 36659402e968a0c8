"""Splits: the same each time, of the sizes asked for, with no row, copy or prompt on two sides."""

import pandas
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.bad_data import ANSWERED, CSV, LABELS, csv_of, prepared, sentence
from tunebook.data import similarity
from tunebook.data.splitting import LEFT_OUT, SPLITS, split_rows
from tunebook.errors import TunebookError

COPIED = ANSWERED | {"max_dropped": 0.5}


@pytest.fixture(scope="module")
def copied(tmp_path_factory):
    """600 rows in which every third is a near-copy of one before, and every tenth prompt has a second answer."""
    rows = []
    for number in range(600):
        text = sentence(number - number % 3) + " again" if number % 3 == 2 else sentence(number)
        rows.append((text, LABELS[number % 2 if number % 7 else 2]))
        if number % 10 == 0:
            rows.append((text, f"{LABELS[0]} {sentence(5000 + number)}"))
    folder = tmp_path_factory.mktemp("copied")
    return rows, folder, prepared(folder, csv_of(rows), CSV, **COPIED)


def test_no_row_and_no_copy_is_on_both_sides(copied):
    _, _, (frames, _, profile) = copied
    texts = {name: list(frame["prompt"] + "\n" + frame["completion"]) for name, frame in frames.items()}
    training = [set(map("".join, zip(*(text[start:] for start in range(5)), strict=False))) for text in texts["train"]]
    for text in texts["validation"] + texts["test"]:
        grams = set(map("".join, zip(*(text[start:] for start in range(5)), strict=False)))
        assert max(len(grams & other) / len(grams | other) for other in training) < 0.8
    assert profile["crossing_copies"] == 0
    assert profile["near_duplicates"] > 100
    assert not set(texts["train"]) & {*texts["validation"], *texts["test"]}


def test_a_prompt_is_on_one_side_only(copied):
    _, _, (frames, _, _) = copied
    prompts = [set(frame["prompt"]) for frame in frames.values()]
    assert sum(map(len, prompts)) == len(set.union(*prompts))
    assert sum(map(len, frames.values())) > len(set.union(*prompts))  # some do have two answers


def test_counts_add_up(copied):
    rows, _, (frames, refusals, profile) = copied
    dropped = profile["exact_duplicates"] + profile["near_duplicates"] + len(refusals)
    assert profile["raw_rows"] == len(rows) == profile["rows"] + dropped
    assert profile["splits"] == {name: len(frame) for name, frame in frames.items()}
    assert sum(profile["splits"].values()) == profile["rows"]


def test_the_seed_decides_the_split(copied, tmp_path):
    rows, _, (frames, _, _) = copied
    again, _, _ = prepared(tmp_path, csv_of(rows), CSV, **COPIED)
    other, _, _ = prepared(tmp_path, csv_of(rows), CSV, **COPIED, split={"seed": 1})
    for name in SPLITS:
        pandas.testing.assert_frame_equal(frames[name], again[name])
    assert set(other["test"]["row"]) != set(frames["test"]["row"])


@pytest.mark.parametrize(("train", "kept"), [(7, 7), (0.5, 40), (80, 80)])
def test_fewer_training_rows_leave_the_held_out_ones_as_they_are(train, kept):
    groups, labels = list(map(str, range(100))), [None] * 100
    split = {"validation": 10, "test": 10, "train": None, "seed": 3}
    whole, few = (split_rows(groups, labels, split | {"train": number}) for number in (None, train))
    assert (few == "train").sum() == kept
    assert (few == LEFT_OUT).sum() == 80 - kept
    for name in ("validation", "test"):
        assert ((few == name) == (whole == name)).all()
    with pytest.raises(TunebookError, match=r"found 81, but validation and test leave 80 rows"):
        split_rows(groups, labels, split | {"train": 81})


def test_rows_left_out_are_counted_and_cannot_leak(copied, tmp_path):
    rows, _, (frames, _, _) = copied
    few, _, profile = prepared(tmp_path, csv_of(rows), CSV, **COPIED, split={"train": 5})
    assert len(few["train"]) == profile["splits"]["train"] == 5
    assert profile["left_out"] == profile["rows"] - sum(profile["splits"].values())
    assert set(few["train"]["row"]) <= set(frames["train"]["row"])
    pandas.testing.assert_frame_equal(few["test"], frames["test"])
    assert profile["crossing_copies"] == 0


def test_similarity_is_that_of_sets_of_five_characters():
    sets = similarity.shingles(["abcdefg", "abcdefh", "uvwxyz"])
    matrix = next(similarity.similarities(sets, sets))
    assert matrix.tolist() == [[1, 0.5, 0], [0.5, 1, 0], [0, 0, 1]]


GROUPS = st.lists(st.integers(1, 6), min_size=20, max_size=80)
SIZES = st.floats(0.1, 0.4) | st.integers(1, 8)


@given(GROUPS, SIZES, SIZES, st.integers(0, 5), st.integers(1, 4))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_splits_keep_groups_and_sizes(sizes, validation, test, seed, labels):
    groups = [f"group {number}" for number, size in enumerate(sizes) for _ in range(size)]
    marks = [f"label {int(group.split()[1]) % labels}" for group in groups]
    split = {"validation": validation, "test": test, "train": None, "seed": seed}
    try:
        assigned = split_rows(groups, marks, split)
    except TunebookError:
        assume(False)
    assert list(assigned) == list(split_rows(groups, marks, split))
    sides = {}
    for group, side in zip(groups, assigned, strict=True):
        assert sides.setdefault(group, side) == side
    for name in ("validation", "test"):
        wanted = split[name] if split[name] >= 1 else split[name] * len(groups)
        assert abs((assigned == name).sum() - wanted) <= max(sizes)


@given(st.integers(30, 200), st.integers(1, 10), st.integers(1, 10), st.integers(2, 8))
@settings(max_examples=50, deadline=None, derandomize=True)
def test_splits_of_single_rows_are_exact_and_stratified(rows, validation, test, labels):
    groups, marks = list(map(str, range(rows))), [str(number % labels) for number in range(rows)]
    assigned = split_rows(groups, marks, {"validation": validation, "test": test, "train": None, "seed": 0})
    assert (assigned == "validation").sum() == validation
    assert (assigned == "test").sum() == test
    for name, size in (("validation", validation), ("test", test)):
        for label in set(marks):
            share = marks.count(label) / rows
            count = sum(mark == label and side == name for mark, side in zip(marks, assigned, strict=True))
            assert abs(count - share * size) <= 1.5
