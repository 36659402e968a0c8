"""Which held-out rows are answered: some to be shown, on request more to be measured."""

import pandas
import pytest

from tests import tiny
from tunebook.configuration.study import evaluation_spec, runs_of, sampling_spec
from tunebook.configuration.validation import validate
from tunebook.data.heldout import heldout_rows


def rows(count=12):
    labels = ["a", "b", "c"]
    lines = [{"row": f"r{at}", "prompt": f"question {at // 2}", "label": labels[at % 3]} for at in range(count)]
    return pandas.DataFrame([line | {"messages": None, "text": None} for line in lines])


@pytest.mark.parametrize(("labels", "shown"), [([], 2), (["a", "b", "c"], 6)])
def test_scored_rows_are_others_than_those_shown(labels, shown):
    run = {"generation": {"heldout_samples": 2, "scored_rows": 3}, "dataset": {"labels": labels}}
    found = heldout_rows(run, rows(24), {f"r{at}" for at in range(24)})
    asked = [row["prompt"] for chosen in found.values() for row in chosen]
    assert {source: len(chosen) for source, chosen in found.items()} == {"heldout": shown, "scored": 3}
    assert len(set(asked)) == len(asked)  # no question twice
    run["generation"]["scored_rows"] = 0
    assert heldout_rows(run, rows(), {"r0"}) == {"heldout": found["heldout"][:1], "scored": []}


def test_more_answers_ask_for_samples_and_for_no_evaluation(tmp_path):
    config = tiny.study(tmp_path)
    before = runs_of(validate(config))[0]
    config["experiments"]["words"]["generation"]["scored_rows"] = 5
    after = runs_of(validate(config))[0]
    assert evaluation_spec(after) == evaluation_spec(before)
    assert sampling_spec(after) != sampling_spec(before)
