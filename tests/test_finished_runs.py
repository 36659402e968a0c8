"""What people do with a finished run: name it, look at it, talk to it, score it on other rows."""

import json

import pandas
import pytest

from tests import tiny
from tests.stages import run_stage
from tests.test_scoring import run_for
from tunebook import __main__ as command_line
from tunebook.chat import CLEAR, cautions_of, speakers_of, talk
from tunebook.chosen_run import choose_run
from tunebook.data.splits import read_split, read_tokens
from tunebook.errors import TunebookError
from tunebook.finetuning.encoding import encode, prompt_of, spec_of
from tunebook.finetuning.models import load_model
from tunebook.finetuning.speaker import Speaker
from tunebook.finetuning.tokenizers import load_tokenizer
from tunebook.records import read_json


def refused(capsys, *arguments):
    assert command_line.main([str(argument) for argument in arguments]) == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said
    return said


@pytest.fixture
def lora(finished_study):
    return finished_study["results"] / "runs" / "words" / "lora" / "seed-0"


# naming a run


@pytest.mark.parametrize("told", ["words/lora", "words/lora/seed-0", "results/words/lora", "words/lora/"])
def test_a_run_is_found_by_the_end_of_its_name(finished_study, lora, told):
    chosen = choose_run(told, finished_study["results"].parent)
    assert (chosen.folder, chosen.name) == (lora, "words/lora/seed-0")
    assert chosen.adapter == lora / "adapter"
    assert chosen.model == finished_study["model"]
    assert chosen.untouched().adapter is None


def test_a_run_is_found_by_its_folder_from_anywhere(lora, monkeypatch):
    monkeypatch.chdir(lora.parent)
    assert choose_run("seed-0").name == "words/lora/seed-0"


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ("words/lor", "did you mean words/lora/seed-0?"),
        ("words", "found 3 runs of this name"),
        ("results", "name one of them: results/words/base/seed-0, results/words/full/seed-0"),
        ("ords/lora", "no such run"),
    ],
)
def test_a_name_that_fits_no_run_or_several_is_refused_with_those_there_are(finished_study, told, said):
    with pytest.raises(TunebookError, match=said.replace("?", r"\?")):
        choose_run(told, finished_study["results"].parent)


def test_without_a_study_the_message_says_what_to_run(tmp_path):
    with pytest.raises(TunebookError, match="run a study first"):
        choose_run("words/lora", tmp_path)


def test_a_run_that_was_not_trained_yet_is_refused(finished_study, tmp_path):
    folder = tmp_path / "s" / "runs" / "words" / "lora" / "seed-0"
    folder.mkdir(parents=True)
    (tmp_path / "s" / "study.json").write_text("{}")
    (folder / "run.json").write_text((finished_study["results"] / "runs/words/lora/seed-0/run.json").read_text())
    with pytest.raises(TunebookError, match="not trained yet"):
        choose_run(str(folder))


# show


def test_show_prints_losses_metrics_and_answers_of_a_run_and_of_its_base(lora, capsys):
    run_stage("show", lora)
    said = capsys.readouterr().out
    evaluation, training = read_json(lora / "evaluation.json"), read_json(lora / "training.json")
    assert said.startswith("words/lora/seed-0\n  6 steps in ")
    assert f"{evaluation['text_loss']:.2f}" in said
    assert f"kept are the weights of step {training['best_step']}" in said
    assert "On 12 held-out test rows" in said
    for name in ("untouched model: ", "lora: ", "> profit rose", "accuracy ↑", "reference: "):
        assert name in said


def test_show_of_the_base_run_has_no_training(lora, capsys):
    run_stage("show", lora.parent.parent / "base" / "seed-0", "--answers", 1)
    said = capsys.readouterr().out
    assert "epoch" not in said
    assert said.count("> ") == 1


def test_show_of_a_run_that_is_not_evaluated_says_so(lora, tmp_path, capsys):
    for name in ("study.json", "runs/words/base/seed-0/run.json"):
        (tmp_path / "s" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "s" / name).write_text((lora.parents[3] / name).read_text())
    said = refused(capsys, "show", tmp_path / "s/runs/words/base/seed-0")
    assert "found no evaluation.json and no samples.json; let the study finish" in said


# chat


def test_the_chat_answers_as_the_report_does_piece_by_piece(lora):
    asked = "profit rose"
    for speaker in speakers_of([str(lora)], base=True, max_new_tokens=None, remember=None):
        folder = lora if speaker.name == "lora" else lora.parent.parent / "base" / "seed-0"
        expected = next(each for each in read_json(folder / "samples.json") if each["prompt"] == asked)
        pieces = []
        answer = speaker.reply(asked, pieces.append)
        assert (answer.text, answer.tokens, answer.stopped) == tuple(
            expected[key] for key in ("completion", "tokens", "stopped")
        )
        assert "".join(pieces) == answer.text
        assert speaker.history == []  # rows of this study stand alone


def test_chat_prints_every_models_answer_and_ends_at_an_empty_line(lora, capsys, monkeypatch, tmp_path):
    lines = tmp_path / "lines"
    lines.write_text("profit rose\n\nprofit fell\n")
    monkeypatch.setattr("sys.stdin", lines.open())
    run_stage("chat", lora, "--max-new-tokens", 2)
    said = capsys.readouterr().out.splitlines()
    assert "Each question is asked alone" in said[0]
    assert [line.split(":")[0] for line in said[1:]] == ["untouched model", "lora"]


def test_chat_with_history_asks_with_what_was_said_before(tmp_path):
    tiny.model(tmp_path, "llama")
    run = run_for("llama")
    tokenizer = load_tokenizer(tmp_path)
    speaker = Speaker("it", run, load_model(run, tmp_path).eval(), tokenizer, 3, remembers=True)
    first = speaker.reply("profit rose", lambda piece: None)
    assert [message.content for message in speaker.history] == ["profit rose", first.text]
    given = []
    speaker.model.generate, generate = lambda **told: given.append(told) or generate(**told), speaker.model.generate
    speaker.reply("profit fell", lambda piece: None)
    messages = tiny.talk("profit rose", first.text, "profit fell", "x")
    row = {"row": "r", "prompt": None, "text": None, "messages": messages, "completion": None}
    line = encode(row, tokenizer, spec_of(run) | {"learn": "last", "max_length": 1000})
    assert given[0]["input_ids"].tolist() == [prompt_of(run, vars(line))]
    assert len(speaker.history) == 4


def test_clear_forgets_and_a_question_too_long_is_refused_and_forgotten(tmp_path, capsys):
    tiny.model(tmp_path, "opt")  # reads 64 tokens
    run = run_for("opt")
    speaker = Speaker("it", run, load_model(run, tmp_path).eval(), load_tokenizer(tmp_path), 4, remembers=True)
    talk([speaker], ["profit rose", "profit " * 70, CLEAR, "/quit", "profit"])
    said = capsys.readouterr().out
    assert "[it reads 64 tokens at most; this takes" in said
    assert "or begin anew with /clear]" in said
    assert said.endswith("forgotten\n")
    assert speaker.history == []


@pytest.mark.parametrize("family", ["t5", "bert"])
def test_encoder_decoders_answer_and_classifiers_tell_their_labels_shares(tmp_path, family):
    tiny.model(tmp_path, family)
    run = run_for(family)
    if family == "bert":
        run["task"], run["dataset"]["labels"] = "sequence-classification", ["negative", "neutral", "positive"]
    speaker = Speaker("it", run, load_model(run, tmp_path).eval(), load_tokenizer(tmp_path), 4)
    pieces = []
    answer = speaker.reply("profit rose", pieces.append)
    assert "".join(pieces) == answer.text
    if family == "bert":
        shares = dict(part.rsplit(" ", 1) for part in answer.text.split(", "))
        assert set(shares) == set(run["dataset"]["labels"])
        assert sum(map(float, shares.values())) == pytest.approx(1, abs=0.002)


def test_a_caution_of_the_data_is_shown(lora, tmp_path):
    assert cautions_of([str(lora)]) == []
    study = read_json(lora.parents[3] / "study.json")
    study["datasets"]["lines"]["caution"] = "For research only."
    folder = tmp_path / "s/runs/words/base/seed-0"
    folder.mkdir(parents=True)
    (tmp_path / "s/study.json").write_text(json.dumps(study))
    (folder / "run.json").write_text((lora.parents[1] / "base/seed-0/run.json").read_text())
    assert cautions_of([str(folder)]) == ["For research only."]


def test_a_chat_of_no_tokens_is_refused(lora, capsys):
    assert "--max-new-tokens: found 0" in refused(capsys, "chat", lora, "--max-new-tokens", 0)


# score


def rows_of(split, finished_study, file):
    """The rows of a split as its source had them, in a file of their own."""
    ids = {int(row.rsplit(":", 1)[1]) for row in read_split(finished_study["dataset"], split)["row"]}
    lines = (finished_study["results"].parent / "rows.jsonl").read_text().splitlines()
    file.write_text("\n".join(line for number, line in enumerate(lines, start=1) if number in ids) + "\n")
    return file


def test_the_test_rows_in_another_file_score_as_in_the_study(finished_study, lora, tmp_path, capsys):
    file = rows_of("test", finished_study, tmp_path / "more.jsonl")
    run_stage(
        "score", lora, lora.parents[1] / "full/seed-0", "--data", file, "--few-shot", 2, "--output", tmp_path / "out"
    )
    for method in ("base", "lora", "full"):
        scored = read_json(tmp_path / "out" / method / "seed-0" / "evaluation.json")
        own = read_json(lora.parents[1] / method / "seed-0" / "evaluation.json")
        assert scored["rows"] == own["rows"] == 12
        for key in ("loss", "text_loss", "bits_per_byte"):
            assert scored[key] == pytest.approx(own[key], rel=1e-6)
        for key in ("accuracy", "macro_f1"):
            assert scored["metrics"][key] == own["metrics"][key]
    few = read_json(tmp_path / "out/base/seed-0/evaluation.json")["few_shot"][0]
    own = read_json(lora.parents[1] / "base/seed-0/evaluation.json")["few_shot"][0]
    assert few["mean"]["text_loss"] == pytest.approx(own["mean"]["text_loss"], rel=1e-6)
    record = read_json(tmp_path / "out/score.json")
    assert (record["rows_read"], record["rows"], record["copies"]) == (12, 12, [])
    told = record["against_base"]["words/lora/seed-0"]["text_loss"]
    losses = [
        pandas.read_parquet(tmp_path / "out" / method / "seed-0/predictions.parquet") for method in ("lora", "base")
    ]
    means = [(frame["text_loss"] * frame["text_tokens"]).sum() / frame["text_tokens"].sum() for frame in losses]
    assert told["mean"] == pytest.approx(means[0] - means[1])
    said = capsys.readouterr().out
    assert "12 rows, 12 scored" in said
    assert "lora/seed-0 less the untouched model, loss of the text" in said


def test_rows_that_training_or_its_choices_saw_are_left_out_and_counted(finished_study, lora, tmp_path, capsys):
    parts = [
        rows_of(split, finished_study, tmp_path / f"{split}.jsonl").read_text() for split in ("test", "validation")
    ]
    file = tmp_path / "both.jsonl"
    file.write_text(parts[0] + parts[1] + parts[0].splitlines()[0] + "\n")
    run_stage("score", lora, "--data", file, "--output", tmp_path / "out")
    record = read_json(tmp_path / "out/score.json")
    assert (record["rows_read"], record["rows"], len(record["copies"])) == (23, 12, 11)
    assert "11 left out as copies" in capsys.readouterr().out
    assert "no copy of one which training saw" in refused(
        capsys, "score", lora, "--data", tmp_path / "validation.jsonl"
    )


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.txt", "x", "found the suffix .txt; known are .csv"),
        ("none.jsonl", None, "no file there"),
        ("a.csv", "words,label\nprofit,positive\n", "no column text"),
        ("a.jsonl", '{"text": "profit", "label": "good"}\n', "good"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(lora, tmp_path, capsys, name, text, said):
    if text is not None:
        (tmp_path / name).write_text(text)
    assert said in refused(capsys, "score", lora, "--data", tmp_path / name, "--output", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_scored_rows_are_encoded_as_the_experiments_own(finished_study, lora, tmp_path):
    from tunebook.data.other_rows import other_rows
    from tunebook.score import encoded, seen_rows

    chosen = choose_run(str(lora))
    study = read_json(chosen.study / "study.json")
    specs = {stage: study["specs"][stage]["lines"] for stage in ("fetch-dataset", "prepare")}
    raw = pandas.read_parquet(finished_study["results"].parent / "datasets/lines/raw.parquet")
    found = other_rows(rows_of("test", finished_study, tmp_path / "rows.jsonl"), specs, raw, seen_rows(chosen))
    given = {tuple(line["input_ids"]): line["labels"] for line in encoded(found, chosen).tokens}
    assert given == {
        tuple(line["input_ids"]): list(line["labels"]) for line in read_tokens(finished_study["tokens"], "test")
    }
