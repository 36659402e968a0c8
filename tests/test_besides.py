"""What a causal model is asked besides its test rows: a neutral text (forgetting), and to complete rows verbatim."""

import pandas
import pytest
import torch

from tests import tiny
from tests.stages import prepared, run_stage
from tests.test_scoring import run_for
from tunebook.configuration.study import evaluation_spec, runs_of, sampling_spec
from tunebook.configuration.validation import validate
from tunebook.finetuning import memorisation, metrics
from tunebook.finetuning.batching import collator_for
from tunebook.finetuning.encoding import NO_LOSS
from tunebook.finetuning.generation import answer
from tunebook.finetuning.models import load_model
from tunebook.finetuning.neutral import paragraphs, pieces, score_neutral
from tunebook.finetuning.scoring import token_losses
from tunebook.finetuning.tokenizers import load_tokenizer
from tunebook.records import read_json
from tunebook.source_code import code_of


def loaded(folder, family="llama"):
    tiny.model(folder, family)
    model, tokenizer = load_model(run_for(family), folder).eval(), load_tokenizer(folder)
    return model, tokenizer, collator_for(run_for(family)["task"], tokenizer, model)


def test_the_neutral_text_is_plain_fixed_and_known_to_the_workflow():
    assert len(paragraphs()) == 6
    assert 400 <= sum(len(paragraph.split()) for paragraph in paragraphs()) <= 600
    name = "tunebook.finetuning.neutral.txt"
    assert name in code_of("evaluate")  # an edit evaluates again
    assert name not in code_of("train")  # and trains nothing


@pytest.mark.parametrize("family", ["llama", "opt"])  # opt reads 64 tokens at most
@torch.no_grad()
def test_the_neutral_loss_is_transformers_own_over_all_pieces(tmp_path, family):
    model, tokenizer, collate = loaded(tmp_path, family)
    summed, count = 0.0, 0
    limit = model.config.max_position_embeddings
    for paragraph in paragraphs():
        ids = tokenizer(paragraph)["input_ids"]
        for start in range(0, len(ids), min(limit, 512)):
            piece = torch.tensor([ids[start : start + min(limit, 512)]])
            summed += model(input_ids=piece, labels=piece).loss.item() * (piece.shape[1] - 1)
            count += piece.shape[1] - 1
    scored = score_neutral(model, tokenizer, collate, 4)
    assert metrics.neutral_loss(*map(list, zip(*scored, strict=True))) == pytest.approx(summed / count, abs=1e-4)
    assert sum(tokens for _, tokens in scored) == count


def test_pieces_are_cut_at_the_models_limit():
    assert pieces([[1, 2, 3, 4, 5]], 2) == [
        {"input_ids": [1, 2], "labels": [NO_LOSS, 2]},
        {"input_ids": [3, 4], "labels": [NO_LOSS, 4]},
    ]  # a piece of one token predicts nothing


def test_which_tokens_are_to_be_completed_by_hand():
    text = {"input_ids": list(range(10, 20)), "labels": [NO_LOSS, *range(11, 20)]}  # 8 learnt, then the end
    assert memorisation.completed_places(text) == [5, 6, 7, 8]
    turns = {"input_ids": [9] * 14, "labels": [NO_LOSS, 9, 9, NO_LOSS, *[9] * 10]}  # the last answer counts
    assert memorisation.completed_places(turns) == [9, 10, 11, 12]
    long = {"input_ids": [9] * 200, "labels": [NO_LOSS] + [9] * 199}
    assert len(memorisation.completed_places(long)) == memorisation.MOST_COMPLETED
    short = {"input_ids": [9] * 8, "labels": [NO_LOSS] + [9] * 7}
    assert memorisation.chosen([short, text, turns, long], 2) == [text, turns]


def test_one_forward_pass_tells_what_greedy_decoding_would_write(tmp_path):
    model, tokenizer, collate = loaded(tmp_path)
    rows = []
    for number, text in enumerate(line["text"] for line in tiny.texts(12)):
        ids = [*tokenizer(text)["input_ids"], 3][:20]
        row = {"input_ids": ids, "labels": [NO_LOSS, *ids[1:]]}
        if number % 2:  # make the second half what the model would write, in one of four rows but for its last token
            places = memorisation.completed_places(row)
            prompt = torch.tensor([ids[: places[0]]])
            options = {"max_new_tokens": len(places), "do_sample": False, "eos_token_id": None, "pad_token_id": 1}
            ids[places[0] : places[-1] + 1] = model.generate(prompt, **options)[0, len(prompt[0]) :].tolist()
            if number % 4 == 1:
                ids[places[-1]] = (ids[places[-1]] + 1) % 100
            row["labels"] = [NO_LOSS, *ids[1:]]
        rows.append(row)
    rows = memorisation.chosen(rows, 100)
    expected = []
    for row in rows:
        places = memorisation.completed_places(row)
        reference = row["input_ids"][places[0] : places[-1] + 1]
        options = {"max_new_tokens": len(places), "do_sample": False, "eos_token_id": None, "pad_token_id": 1}
        prompt = torch.tensor([row["input_ids"][: places[0]]])
        expected.append(model.generate(prompt, **options)[0, len(prompt[0]) :].tolist() == reference)
    assert True in expected
    assert False in expected
    for size in (1, 5):
        assert memorisation.completed(model, rows, collate, size) == expected


def test_rows_learnt_by_heart_are_found_and_others_are_not(tmp_path):
    model, tokenizer, collate = loaded(tmp_path)
    encoded = [[*tokenizer(line["text"])["input_ids"], 3] for line in tiny.texts(24)]
    rows = memorisation.chosen([{"input_ids": ids, "labels": [NO_LOSS, *ids[1:]]} for ids in encoded], 24)
    seen, unseen = rows[:8], rows[8:]
    assert not any(memorisation.completed(model, seen, collate, 8))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(60):
        batch = collate(seen)
        labels = batch.pop("labels")
        (token_losses(model(**batch).logits, labels, "causal-lm").sum() / (labels != NO_LOSS).sum()).backward()
        optimizer.step()
        optimizer.zero_grad()
    assert all(memorisation.completed(model, seen, collate, 8))
    assert not any(memorisation.completed(model, unseen, collate, 8))


def test_the_stage_measures_both_and_the_base_with_examples(tmp_path):
    config = tiny.study(tmp_path, few_shot=2)
    dataset = config["datasets"]["lines"]
    for key in ("prompt", "completion", "label", "labels"):
        del dataset[key]
    dataset["text"] = "{{ text }}"
    config["experiments"]["words"]["generation"]["memorisation_rows"] = 5
    places = prepared(config, tmp_path)
    folder = places["results"] / "runs/words/base/seed-0"
    run_stage("evaluate", "--run", folder / "run.json", "--model", places["model"], "--tokens", places["tokens"],
              "--dataset", places["dataset"], "--output", folder)  # fmt: skip
    record = read_json(folder / "evaluation.json")
    verbatim = ("verbatim_training", "verbatim_heldout", "verbatim_difference")
    assert set(record["metrics"]) == {"neutral_loss", *verbatim} <= set(metrics.definitions())
    assert record["metric_rows"] == {"neutral_loss": 6, **dict(zip(verbatim, (5, 5, 10), strict=True))}
    assert "neutral_loss" not in record["intervals"]
    assert set(verbatim) <= set(record["intervals"])
    told = record["few_shot"]
    assert len(told["rows_shown"]) == told["examples"] == 2
    assert told["tokens"] == record["tokens"]  # the same tokens are scored
    assert told["loss"] != record["loss"]
    predictions = pandas.read_parquet(folder / "predictions.parquet")
    weighted = (predictions["few_shot_loss"] * predictions["tokens"]).sum() / predictions["tokens"].sum()
    assert weighted == pytest.approx(told["loss"])


def test_the_keys_ask_for_evaluation_alone(tmp_path):
    config = tiny.study(tmp_path)
    before = {run.method: run for run in runs_of(validate(config))}
    config["experiments"]["words"]["generation"]["memorisation_rows"] = 5
    config["experiments"]["words"]["few_shot"] = 2
    after = {run.method: run for run in runs_of(validate(config))}
    for method, run in after.items():
        assert run.spec["identity"] == before[method].spec["identity"]
        assert evaluation_spec(run) != evaluation_spec(before[method])
        assert sampling_spec(run) == sampling_spec(before[method])
    assert after["base"].spec["few_shot"] == 2
    assert {run.spec["few_shot"] for run in after.values() if run.trained} == {0}


def test_answer_and_completion_agree_on_the_prompt(tmp_path):
    """`answer` decodes from the same place that `completed` predicts from."""
    model, tokenizer, _ = loaded(tmp_path)
    ids = tokenizer("the first day of the time that you make water")["input_ids"]
    told = answer(model, [ids[:5]], tokenizer, max_new_tokens=1, batch_size=1)[0]
    likeliest = model(input_ids=torch.tensor([ids[:5]])).logits[0, -1].argmax().item()
    assert told.stopped or tokenizer.decode([likeliest], skip_special_tokens=True) == told.text
