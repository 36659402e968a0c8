"""Bad data: every refusal names file, row, reason and what was found; what can be read is read whole."""

import json

import pandas
import pyarrow.ipc
import pyarrow.parquet
import pytest

from tests import tiny
from tests.bad_data import (
    ANSWERED,
    ARROW,
    CSV,
    FINE,
    FRAME,
    JSON,
    LABELLED,
    LABELS,
    PAIRS,
    PARQUET,
    REFUSED,
    ROWS,
    TALK_FORM,
    TALKS,
    XLSX,
    YAML_FORM,
    csv_of,
    prepared,
    prepared_from,
    sentence,
    spreadsheet,
    talks_of,
    with_row,
)
from tunebook.configuration.datasets import Dataset
from tunebook.configuration.study import dump
from tunebook.errors import TunebookError
from tunebook.prepare import main as prepare_stage


@pytest.mark.parametrize("case", REFUSED, ids=[case[0] for case in REFUSED])
def test_bad_data_is_refused_in_words(tmp_path, case):
    _, form, content, rest, message = case
    with pytest.raises(TunebookError) as error:
        prepared(tmp_path, content, form, **rest)
    assert message in str(error.value)


@pytest.mark.parametrize("case", FINE, ids=[case[0] for case in FINE])
def test_what_only_looks_bad_is_read_whole(tmp_path, case):
    _, form, content, rest = case
    frames, refusals, profile = prepared(tmp_path, content, form, **rest)
    assert refusals == []
    rows = pandas.concat(frames.values())
    assert sorted(rows["label"]) == sorted(label for _, label in PAIRS)
    assert profile["raw_rows"] == profile["rows"] == len(rows) == ROWS


def test_a_cell_of_a_million_characters_is_fine(tmp_path):
    frames, _, profile = prepared(tmp_path, csv_of([*PAIRS, ("amber " * 170_000, "neutral")]), CSV, **ANSWERED)
    assert sum(map(len, frames.values())) == ROWS + 1
    assert profile["characters"]["max"] > 1_000_000


def test_a_cell_may_run_over_lines_and_rows_keep_their_line(tmp_path):
    content = with_row(3, '"amber\nbasket, ""copper""",neutral')
    frames, _, _ = prepared(tmp_path, content, CSV, **ANSWERED)
    rows = pandas.concat(frames.values()).set_index("row")
    assert rows.loc["bad.txt:3", "prompt"] == 'amber\nbasket, "copper"'
    assert rows.loc["bad.txt:5", "prompt"] == PAIRS[2][0]


def test_tolerated_rows_are_listed_and_the_others_taken(tmp_path):
    content = with_row(7, "a").replace(sentence(20), " ")
    frames, refusals, profile = prepared(tmp_path, content, CSV, **ANSWERED, tolerance=0.05)
    assert [str(refusal) for refusal in refusals] == [
        "bad.txt, row 7: expected 2 fields (found 1 fields)",
        "bad.txt, row 22: empty sentence (found ' ')",
    ]
    assert profile["rejected"] == {"expected 2 fields": 1, "empty sentence": 1}
    assert sum(map(len, frames.values())) == profile["rows"] == ROWS - 2


def test_only_the_first_refusals_are_listed(tmp_path):
    with pytest.raises(TunebookError, match="and 34 more"):
        prepared(tmp_path, csv_of([*PAIRS[:1], *((" ", label) for _, label in PAIRS[1:])]), CSV, **ANSWERED)


def test_labels_that_are_numbers_are_labels(tmp_path):
    rows = json.dumps([{"sentence": sentence(number), "label": number % 2} for number in range(ROWS)])
    frames, _, _ = prepared(tmp_path, rows, JSON, prompt="{{ sentence }}", label="label", labels=["0", "1"])
    assert set(frames["train"]["completion"]) == {"0", "1"}


def test_words_of_yaml_stay_words(tmp_path):
    talks = "".join(f"- [{text}, No, 007, 12:30]\n" for text, _ in PAIRS)
    frames, _, _ = prepared(tmp_path, f"rows:\n{talks}", YAML_FORM | {"names": ["turns"]}, **TALKS)
    said = [message["content"] for message in frames["test"]["messages"].iloc[0]]
    assert said[1:] == ["No", "007", "12:30"]


def test_a_last_turn_without_an_answer_is_left_out_and_counted(tmp_path):
    declared = TALK_FORM | {"style": "turns"}
    frames, _, profile = prepared(tmp_path, talks_of(["Hello?", "Hi!", "Anyone?"]), declared, **TALKS)
    talks = [list(talk) for frame in frames.values() for talk in frame["messages"]]
    assert tiny.talk("Hello?", "Hi!") in talks
    assert profile["dropped_turns"] == 1


def test_a_column_that_the_template_asks_about_may_be_empty(tmp_path):
    rows = [
        {"question": text, "context": (None, " ", "in a garden")[number % 3]} for number, (text, _) in enumerate(PAIRS)
    ]
    template = "{{ question }}{% if context %} {{ context }}{% endif %}"
    frames, refusals, _ = prepared(tmp_path, json.dumps(rows), JSON, text=template)
    assert refusals == []
    texts = set(pandas.concat(frames.values())["text"])
    assert texts == {text + (" in a garden" if number % 3 == 2 else "") for number, (text, _) in enumerate(PAIRS)}


def test_functions_of_jinja_are_no_columns(tmp_path):
    frames, _, _ = prepared(
        tmp_path, csv_of(PAIRS), CSV, text="{% for n in range(2) %}{{ n }} {{ sentence }}. {% endfor %}"
    )
    assert frames["train"]["text"].str.startswith("0 ").all()


def test_texts_with_labels_are_not_grouped_by_their_label(tmp_path):
    frames, _, _ = prepared(tmp_path, csv_of(PAIRS), CSV, text="{{ sentence }}", label="label", labels=LABELS)
    assert {name: len(frame) for name, frame in frames.items()} == {"train": 32, "validation": 4, "test": 4}


def test_parquet_keeps_its_values(tmp_path):
    file = tmp_path / "pairs.parquet"
    pandas.DataFrame(PAIRS, columns=["sentence", "label"]).to_parquet(file)
    assert pyarrow.parquet.read_metadata(file).num_rows == ROWS
    frames, refusals, _ = prepared_from(tmp_path, str(file), PARQUET, **LABELLED)
    assert refusals == []
    assert sum(map(len, frames.values())) == ROWS


def test_files_of_one_name_are_known_by_their_folders(tmp_path):
    for number, folder in enumerate(("train", "test", "test/deep")):
        (tmp_path / "data" / folder).mkdir(parents=True)
        (tmp_path / "data" / folder / "rows.csv").write_text(csv_of(PAIRS[12 * number : 12 * number + 12]))
    split = {"test": "test/rows.csv", "validation": "test/deep/*"}
    frames, _, _ = prepared_from(tmp_path, str(tmp_path / "data"), CSV, **ANSWERED, split=split)
    assert {name: len(frame) for name, frame in frames.items()} == {"train": 12, "validation": 12, "test": 12}
    assert frames["validation"]["row"].iloc[0] == "test/deep/rows.csv:2"


def test_what_datasets_saves_to_disk_is_read_with_its_splits(tmp_path):
    """A folder of Arrow streams, as `DatasetDict.save_to_disk` lays it out; and a single file (Feather)."""
    for part, rows in (("train", FRAME[:30]), ("validation", FRAME[30:35]), ("test", FRAME[35:])):
        folder = tmp_path / "data" / part
        folder.mkdir(parents=True)
        table = pyarrow.Table.from_pandas(rows, preserve_index=False)
        with pyarrow.ipc.new_stream(str(folder / "data-00000-of-00001.arrow"), table.schema) as stream:
            stream.write_table(table)
        for name in ("dataset_info.json", "state.json"):
            (folder / name).write_text("{}")
    (tmp_path / "data" / "dataset_dict.json").write_text("{}")
    split = {part: f"{part}/" for part in ("train", "validation", "test")}
    frames, refusals, _ = prepared_from(tmp_path, str(tmp_path / "data"), ARROW, **LABELLED, split=split)
    assert refusals == []
    assert {name: len(frame) for name, frame in frames.items()} == {"train": 30, "validation": 5, "test": 5}
    file = tmp_path / "pairs.feather"
    with pyarrow.ipc.new_file(str(file), table.schema) as whole:
        whole.write_table(pyarrow.Table.from_pandas(FRAME, preserve_index=False))
    frames, _, _ = prepared_from(tmp_path, str(file), ARROW, **LABELLED)
    assert sum(map(len, frames.values())) == ROWS


def test_numbers_of_a_spreadsheet_are_as_it_shows_them(tmp_path):
    rows = [("sentence", "label", "n"), *((text, number % 2, number / 2) for number, (text, _) in enumerate(PAIRS))]
    section = {"prompt": "{{ n }} {{ sentence }}", "label": "label", "labels": [0, 1]}
    frames, _, _ = prepared(tmp_path, spreadsheet({"rows": rows}), XLSX, **section)
    assert {text.split()[0] for text in pandas.concat(frames.values())["prompt"]} == {
        str(number // 2) if number % 2 == 0 else f"{number / 2}" for number in range(ROWS)
    }


def test_an_empty_file_among_others_is_a_refusal(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.csv").write_text(csv_of(PAIRS))
    (tmp_path / "data" / "b.csv").write_text("sentence,label\n")
    with pytest.raises(TunebookError, match=r"1 of 41 rows are refused[^-]*- b\.csv: the file holds no row"):
        prepared_from(tmp_path, str(tmp_path / "data" / "*.csv"), CSV, **ANSWERED)


def test_the_stage_writes_what_it_refused(tmp_path, capsys):
    _, _, profile = prepared(tmp_path, with_row(7, "a"), CSV, **ANSWERED, tolerance=0.05)
    section = {"source": {"type": "path", "path": "bad.txt"}, "format": CSV, "licence": "MIT", "tolerance": 0.05}
    spec = {"name": "bad", **dump(Dataset.model_validate(section | ANSWERED))}
    (tmp_path / "study.json").write_text(json.dumps({"specs": {"prepare": {"bad": spec}}}))

    class Arguments:
        study, dataset, raw, output = tmp_path / "study.json", "bad", tmp_path / "raw" / "raw.parquet", tmp_path / "out"

    prepare_stage(Arguments)
    rejected = (tmp_path / "out" / "rejected.csv").read_text()
    assert rejected == "file,row,reason,found\nbad.txt,7,expected 2 fields,1 fields\n"
    assert json.loads((tmp_path / "out" / "profile.json").read_text()) == profile
    assert "refused 1" in capsys.readouterr().out
