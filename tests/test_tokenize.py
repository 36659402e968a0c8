"""The stage `tokenize`: rows that a model cannot take are refused or counted, lengths are told in time, rows are shown."""

import json

import pandas
import pytest

from tests import chat_templates, tiny
from tests.stages import prepared, run_stage
from tunebook import __main__ as command_line
from tunebook.configuration.validation import validate
from tunebook.records import read_json
from tunebook.resolve import resolve

SYSTEM = {"role": "system", "content": "be hot"}


def chats(folder, *, refused, **model):
    """A study of 40 conversations for a model whose template takes no system message; `refused` of them have one."""
    config = tiny.study(folder)
    tiny.tokenizer(folder / "model", chat_template=chat_templates.GEMMA)
    rows = [tiny.talk(row["text"], row["label"]) for row in tiny.texts(40)]
    rows = [[SYSTEM, *talk] if number < refused else talk for number, talk in enumerate(rows)]
    text = "\n".join(json.dumps({"messages": talk}) for talk in rows) + "\n"
    (folder / "rows.jsonl").write_text(text, encoding="utf-8")
    config["models"]["tiny"] |= model
    data = config["datasets"]["lines"]
    for key in ("prompt", "completion", "label", "labels"):
        del data[key]
    data["format"] = {"type": "jsonl", "style": "messages"}
    return config


def test_rows_that_the_template_refuses_are_told_with_the_way_out(tmp_path, capsys):
    with pytest.raises(AssertionError):
        prepared(chats(tmp_path, refused=0, system_prompt="be hot"), tmp_path)
    said = capsys.readouterr().err
    assert "40 of 40 rows cannot be encoded for this model, and the data set's tolerance 0.0 allows 0" in said
    assert "rows, first rows.jsonl:" in said
    assert "set system_prompt: null for this model" in said


def test_refused_rows_within_the_tolerance_are_left_out_and_counted(tmp_path, capsys):
    config = chats(tmp_path, refused=2)
    config["datasets"]["lines"]["tolerance"] = 0.05
    places = prepared(config, tmp_path)
    lengths = read_json(places["tokens"] / "lengths.json")
    counts = [lengths[split] for split in ("train", "validation", "test")]
    assert sum(sum(count["refused"].values()) for count in counts) == 2
    assert sum(count["rows"] for count in counts) == 38
    assert "2 rows cannot be encoded for this model, and are left out" in capsys.readouterr().out
    config["datasets"]["lines"]["tolerance"] = 0.04
    resolve(validate(config), places["results"])
    arguments = ["--study", places["study"], "--experiment", "words", "--dataset", places["dataset"]]
    arguments += ["--model", places["model"], "--output", tmp_path / "again"]
    assert command_line.main(["tokenize", *map(str, arguments)]) == 2
    assert "2 of 40 rows cannot be encoded" in capsys.readouterr().err


def test_rows_are_shown_with_what_is_learnt_and_nothing_is_written(tmp_path, capsys):
    places = prepared(chats(tmp_path, refused=0), tmp_path)
    capsys.readouterr()
    before = sorted(path for path in tmp_path.rglob("*"))
    arguments = [
        "--study",
        places["study"],
        "--experiment",
        "words",
        "--dataset",
        places["dataset"],
        "--model",
        places["model"],
    ]
    run_stage("tokenize", *arguments, "--show", 3)
    told = capsys.readouterr().out
    rows = pandas.read_parquet(places["dataset"] / "train.parquet").head(3)
    assert told.count("--- rows.jsonl:") == 3
    for row in rows.to_dict("records"):
        assert f"⟦{row['messages'][1]['content']}⟧" in told
    assert sorted(path for path in tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("training", "generation", "said"),
    [
        ({"max_length": 512}, {}, "has 64 positions; set training.max_length to at most 64"),
        ({"max_length": 64}, {"max_new_tokens": 60}, "has 64 positions; set generation.max_new_tokens to at most"),
    ],
)
def test_what_does_not_fit_into_the_models_positions_is_told_before_training(
    tmp_path, capsys, training, generation, said
):
    config = tiny.study(tmp_path, family="opt")  # 64 positions
    rows = [
        {"text": f"{row['text']} {'the ' * (80 if generation == {} else 0)}", "label": row["label"]}
        for row in tiny.texts(60)
    ]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n", encoding="utf-8")
    config["experiments"]["words"]["training"] |= training
    config["experiments"]["words"]["generation"] |= generation
    with pytest.raises(AssertionError):
        prepared(config, tmp_path)
    assert said in capsys.readouterr().err
    assert not (tmp_path / "results" / "tokens" / "words").exists()


def test_the_date_of_a_template_is_recorded(tmp_path):
    config = chats(tmp_path, refused=0, template_date="2024-07-26")
    config["experiments"]["words"]["training"]["max_length"] = 128
    tiny.tokenizer(tmp_path / "model", chat_template=chat_templates.LLAMA_3)
    places = prepared(config, tmp_path)
    assert read_json(places["tokens"] / "lengths.json")["template_date"] == "2024-07-26"
