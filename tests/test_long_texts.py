"""Long texts: documents of text files, learnt whole in blocks, and never shared between splits."""

import random

import pandas
import pytest

from tests import tiny
from tests.stages import prepared, run_stage, trained
from tests.test_rows import ABSENT, SPEC
from tunebook.cost.plan import rows_of
from tunebook.data.splits import read_tokens
from tunebook.data.tabular import read_rows
from tunebook.finetuning.encoding import NO_LOSS, encode_blocks
from tunebook.records import read_json


def document(number):
    return " ".join(random.Random(number).choices(tiny.WORDS, k=70))


def test_a_text_is_cut_into_blocks_and_nothing_is_lost(tmp_path):
    tokenizer, text = tiny.tokenizer(tmp_path), document(1)
    blocks = encode_blocks(ABSENT | {"text": text}, tokenizer, SPEC | {"max_length": 32})
    assert [len(block.input_ids) for block in blocks] == [32, 32, 7]
    together = [token for block in blocks for token in block.input_ids]
    assert together == [*tokenizer(text)["input_ids"], tokenizer.eos_token_id]
    assert all(block.labels == [NO_LOSS, *block.input_ids[1:]] for block in blocks)


@pytest.mark.parametrize(("documents", "count"), [("file", 1), ("blank-line", 3)])
def test_documents_are_files_or_stand_between_blank_lines(tmp_path, documents, count):
    text = "\n\n" + "\n \n\n".join(f"{document(number)}\nand more" for number in range(3)) + "\n"
    (tmp_path / "a.txt").write_text(text, encoding="utf-8")
    rows = list(read_rows(tmp_path / "a.txt", {"type": "text", "encoding": "utf-8", "documents": documents}))
    assert len(rows) == count
    if count == 3:
        assert [row.row for row in rows] == [3, 7, 11]
        assert rows[1].values["text"] == f"{document(1)}\nand more"


def test_a_study_of_long_texts_trains_and_scores_every_block(tmp_path):
    config = tiny.study(tmp_path)
    (tmp_path / "books").mkdir()
    for number in range(20):
        (tmp_path / "books" / f"{number:02}.txt").write_text(document(number), encoding="utf-8")
    data = config["datasets"]["lines"]
    for key in ("prompt", "completion", "label", "labels"):
        del data[key]
    data |= {
        "source": {"type": "path", "path": str(tmp_path / "books")},
        "format": {"type": "text"},
        "text": "{{ text }}",
    }
    data |= {"long_texts": "blocks", "split": {"validation": 2, "test": 3}}
    config["experiments"]["words"] |= {
        "few_shot": 1,
        "training": config["experiments"]["words"]["training"] | {"max_steps": 2},
    }
    places = prepared(config, tmp_path)
    lengths = read_json(places["tokens"] / "lengths.json")
    assert {split: lengths[split]["rows"] for split in ("train", "validation", "test")} == {
        "train": 45,
        "validation": 6,
        "test": 9,
    }
    assert sum(lengths[split]["truncated"] for split in ("train", "validation", "test")) == 0
    documents = [
        {line["document"] for line in read_tokens(places["tokens"], split)} for split in ("train", "validation", "test")
    ]
    assert sum(map(len, documents)) == len(set.union(*documents)) == 20
    place = places["results"] / "runs/words/base/seed-0"
    scored = ["--run", place / "run.json", "--model", places["model"], "--tokens", places["tokens"]]
    for stage in ("evaluate", "sample"):
        run_stage(stage, *scored, "--dataset", places["dataset"], "--output", place)
    predictions = pandas.read_parquet(place / "predictions.parquet")
    assert predictions["row"].is_unique
    assert predictions["tokens"].sum() == read_json(place / "evaluation.json")["tokens"] == 3 * (71 - 3)
    sample = next(one for one in read_json(place / "samples.json") if one["source"] == "heldout")
    assert f"{sample['prompt']} {sample['reference']}" in set(predictions["reference"])
    trained(places, "words/lora/seed-0")
    run = read_json(places["results"] / "runs/words/lora/seed-0/run.json")
    assert rows_of(run["dataset"], places["study"]) is None  # nobody knows how many blocks before they are cut
