"""Labels as files have them: numbers, truth values, other names, another case."""

import json
from collections import Counter

import pandas
import pytest

from tests.bad_data import CSV, JSON, PAIRS, ROWS, csv_of, prepared, sentence
from tests.configs import changed
from tunebook.configuration.study import dump, fetching_specs
from tunebook.configuration.validation import validate
from tunebook.data.labels import Labels, NotALabel


def labels_of(folder, values, form=JSON, **section):
    """Labels of all prepared rows whose column `label` holds these values in turn."""
    rows = [{"sentence": sentence(number), "label": values[number % len(values)]} for number in range(ROWS)]
    content = json.dumps(rows) if form is JSON else csv_of([(row["sentence"], str(row["label"])) for row in rows])
    frames, _, profile = prepared(folder, content, form, prompt="{{ sentence }}", label="label", **section)
    found = pandas.concat(frames.values())
    assert list(found["completion"]) == list(found["label"])
    assert sum(sum(counts.values()) for counts in profile["labels"].values()) == ROWS
    return Counter(found["label"])


@pytest.mark.parametrize("form", [JSON, CSV], ids=["json", "csv"])
@pytest.mark.parametrize(
    ("values", "labels", "names"),
    [
        ([0, 1], [0, 1], ["0", "1"]),
        ([0.0, 1.0], [0, 1], ["0", "1"]),
        ([0.0, 1.0], ["0", "1"], ["0", "1"]),
        ([0, 1], [0.0, 1.0], ["0", "1"]),
        ([-1, 1], {-1: "against", 1: "for"}, ["against", "for"]),
        ([0.0, 1.0], {0: "negative", 1: "positive"}, ["negative", "positive"]),
        ([True, False], [True, False], ["true", "false"]),
        ([True, False], {True: "spam", False: "ham"}, ["spam", "ham"]),
        (["TRUE", "FALSE"], {True: "spam", False: "ham"}, ["spam", "ham"]),
        ([1, 2, 3, 4], {1: "bad", 2: "bad", 3: "good", 4: "good"}, ["bad", "good"]),
        (["Up", "down"], ["Up", "down"], ["Up", "down"]),
        (["1", "01"], ["1", "01"], ["1", "01"]),
    ],
)
def test_labels_as_they_come(tmp_path, form, values, labels, names):
    assert set(labels_of(tmp_path, values, form, labels=labels)) == set(names)


def test_case_and_spaces_are_as_in_the_file_or_do_not_count(tmp_path):
    found = labels_of(tmp_path, ["Very good", "very  GOOD", "bad"], labels=["very good", "Bad"], normalise_labels=True)
    assert set(found) == {"very good", "Bad"}
    with pytest.raises(NotALabel):
        Labels({"very good": "very good"}, normalise=False).of("Very good")


def test_a_single_label_in_a_list_is_taken_as_the_message_says(tmp_path):
    rows = json.dumps([{"sentence": text, "label": [label]} for text, label in PAIRS])
    section = {"prompt": "{{ sentence }}", "labels": ["negative", "neutral", "positive"]}
    frames, refusals, _ = prepared(tmp_path, rows, JSON, **section, label="{{ label[0] }}")
    assert refusals == []
    assert sum(map(len, frames.values())) == ROWS


def test_labels_that_only_a_spelling_tells_apart_are_not_guessed():
    labels = Labels({"1": "one", "1.0": "one point zero"}, normalise=False)
    assert labels.of("1.0") == "one point zero"
    with pytest.raises(NotALabel):
        labels.of("1.00")


def test_a_mapping_reaches_the_stages_as_names_and_values():
    labels = {0: "negative", 1.0: "neutral", "up": "positive", 3: "negative"}
    study = validate(changed("datasets.statements.labels", labels))
    specs = fetching_specs(study)
    assert specs["tokenize"]["sentiment"]["labels"] == ["negative", "neutral", "positive"]
    assert specs["prepare"]["statements"]["label_values"] == {
        "0": "negative", "1": "neutral", "up": "positive", "3": "negative"
    }  # fmt: skip
    assert list(dump(study.datasets["statements"])["labels"]) == ["negative", "neutral", "positive"]
