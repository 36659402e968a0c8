"""What a causal model is asked besides its test rows: a neutral text (did it become less likely?), and to complete rows verbatim."""

import pandas
import pytest
import torch

from tests import tiny
from tests.stages import prepared, run_stage, trained
from tests.test_scoring import run_for
from tunebook.configuration.study import evaluation_spec, runs_of, sampling_spec
from tunebook.configuration.validation import validate
from tunebook.data.splits import read_tokens
from tunebook.finetuning import memorisation, metrics
from tunebook.finetuning.adapters import make_trainable
from tunebook.finetuning.batching import collator_for
from tunebook.finetuning.encoding import NO_LOSS
from tunebook.finetuning.generation import answer
from tunebook.finetuning.models import load_model
from tunebook.finetuning.neutral import measure, paragraphs, pieces, score_neutral
from tunebook.finetuning.scoring import summed_loss
from tunebook.finetuning.tokenizers import load_tokenizer
from tunebook.finetuning.trainer import TokenTrainer
from tunebook.records import read_json
from tunebook.reporting.metrics import known
from tunebook.source_code import code_of


def loaded(folder, family="llama"):
    tiny.model(folder, family)
    model, tokenizer = load_model(run_for(family), folder).eval(), load_tokenizer(folder)
    return model, tokenizer, collator_for(run_for(family)["task"], tokenizer, model)


def test_the_neutral_text_is_plain_fixed_and_known_to_the_workflow():
    assert len(paragraphs()) == 24
    assert 1200 <= sum(len(paragraph.split()) for paragraph in paragraphs()) <= 2000
    name = "tunebook.finetuning.neutral.txt"
    assert name in code_of("evaluate")  # an edit evaluates again
    assert name not in code_of("train")  # and trains nothing


@pytest.mark.parametrize("family", ["llama", "opt"])  # opt reads 64 tokens at most
@torch.no_grad()
def test_the_neutral_loss_is_transformers_own_over_all_pieces(tmp_path, family):
    model, tokenizer, collate = loaded(tmp_path, family)
    summed, counts = [], []
    limit = min(model.config.max_position_embeddings, 512)
    for paragraph in paragraphs():
        ids = tokenizer(paragraph)["input_ids"]
        parts = [torch.tensor([ids[start : start + limit]]) for start in range(0, len(ids), limit)]
        parts = [piece for piece in parts if piece.shape[1] > 1]
        summed.append(sum(model(input_ids=piece, labels=piece).loss.item() * (piece.shape[1] - 1) for piece in parts))
        counts.append(sum(piece.shape[1] - 1 for piece in parts))
    losses, tokens = score_neutral(model, tokenizer, collate, 4)
    assert losses == pytest.approx(summed, rel=1e-4)
    assert tokens == counts


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")  # peft's
def test_a_quantized_run_measures_its_own_base_on_the_same_text(tmp_path):
    tiny.model(tmp_path, "llama")
    tokenizer = load_tokenizer(tmp_path)
    run = run_for("llama", "int8") | {"training": {"activation_checkpointing": False}}
    model = load_model(run, tmp_path)
    collate = collator_for("causal-lm", tokenizer, model)
    untrained, tokens = score_neutral(model.eval(), tokenizer, collate, 8)
    run |= {"adapter": tiny.LORA}
    model = make_trainable(model, run).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.fill_(5.0)
    found = measure(run, model, tokenizer, collate, 8)
    assert found.untrained_losses == pytest.approx(untrained, rel=1e-4)
    assert found.losses != pytest.approx(untrained, rel=1e-3)
    assert found.tokens == tokens
    record = {"metrics": {}, "intervals": {}, "metric_rows": {}}
    metrics.add_neutral(record, found)
    assert record["metrics"]["neutral_loss_untrained"] == pytest.approx(sum(untrained) / sum(tokens), rel=1e-4)
    low, high = record["intervals"]["neutral_loss"]
    assert low < record["metrics"]["neutral_loss"] < high


def test_pieces_are_cut_at_the_models_limit():
    assert pieces([1, 2, 3, 4, 5], 2) == [
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
        (summed_loss(model, batch, "causal-lm") / (batch["labels"] != NO_LOSS).sum()).backward()
        optimizer.step()
        optimizer.zero_grad()
    assert all(memorisation.completed(model, seen, collate, 8))
    assert not any(memorisation.completed(model, unseen, collate, 8))


def of_plain_texts(config):
    dataset = config["datasets"]["lines"]
    for key in ("prompt", "completion", "label", "labels"):
        del dataset[key]
    dataset["text"] = "{{ text }}"


def test_the_stage_measures_both_and_the_base_with_examples(tmp_path):
    config = tiny.study(tmp_path, few_shot=2)
    of_plain_texts(config)
    config["experiments"]["words"]["generation"]["memorisation_rows"] = 5
    places = prepared(config, tmp_path)
    folder = places["results"] / "runs/words/base/seed-0"
    run_stage("evaluate", "--run", folder / "run.json", "--model", places["model"], "--tokens", places["tokens"],
              "--dataset", places["dataset"], "--output", folder)  # fmt: skip
    record = read_json(folder / "evaluation.json")
    verbatim = ("verbatim_training", "verbatim_heldout", "verbatim_difference")
    assert set(record["metrics"]) == {"neutral_loss", *verbatim} <= set(known())
    assert record["metric_rows"] == {"neutral_loss": 24, **dict(zip(verbatim, (5, 5, 10), strict=True))}
    assert {"neutral_loss", "text_loss", "loss", *verbatim} == set(record["intervals"])
    assert len(record["neutral_text"]["losses"]) == 24
    assert record["memorisation"]["training_rows_seen"] > 5  # the untouched model is asked the first of all
    assert record["tokens"] == record["text_tokens"] + record["rows"]  # one end a row
    assert record["decoding"]["in_force"]["eos_token_id"] == [3]
    (told,) = record["few_shot"]
    assert (told["examples"], len(told["draws"])) == (2, 5)
    predictions = pandas.read_parquet(folder / "predictions.parquet")
    for kind, counted in (("loss", "tokens"), ("text_loss", "text_tokens")):
        losses = [draw[kind] for draw in told["draws"]]
        for draw in told["draws"]:
            assert len(draw["rows_shown"]) == 2
            assert draw[counted] == record[counted]  # the same tokens are scored
            weights = predictions[counted]
            weighted = (predictions[f"few_shot_2_{draw['seed']}_{kind}"] * weights).sum() / weights.sum()
            assert weighted == pytest.approx(draw[kind])
        assert len({*losses, record[kind]}) == 6
        assert told["mean"][kind] == pytest.approx(sum(losses) / 5)
        assert told["range"][kind] == [min(losses), max(losses)]


def test_a_trained_run_is_asked_rows_that_it_has_seen(tmp_path, monkeypatch):
    config = tiny.study(tmp_path)
    experiment = config["experiments"]["words"]
    experiment["generation"]["memorisation_rows"] = 30
    experiment["training"] |= {"max_steps": 3, "per_device_train_batch_size": 4, "evals_per_epoch": 10}
    experiment["training"]["packing"] = "never"  # so that each row stands alone in its batch
    of_plain_texts(config)
    places = prepared(config, tmp_path)
    shown, compute = [], TokenTrainer.compute_loss

    def noted(trainer, model, inputs, *arguments, **options):
        pairs = zip(inputs["input_ids"], inputs["attention_mask"].bool(), strict=True)
        shown.extend(tuple(ids[mask].tolist()) for ids, mask in pairs)
        return compute(trainer, model, inputs, *arguments, **options)

    monkeypatch.setattr(TokenTrainer, "compute_loss", noted)
    folder = places["results"] / "runs/words/lora/seed-0"
    record, _ = trained(places, "words/lora/seed-0")
    run_stage("evaluate", "--run", folder / "run.json", "--model", places["model"], "--tokens", places["tokens"],
              "--dataset", places["dataset"], "--output", folder, "--adapter", folder / "adapter")  # fmt: skip
    told = read_json(folder / "evaluation.json")["memorisation"]
    lines = {line["row"]: tuple(line["input_ids"]) for line in read_tokens(places["tokens"], "train")}
    seen = set(shown[: record["best_step"] * 4])
    assert told["training_rows_seen"] == len(seen)
    assert {lines[row] for row in told["asked"]} <= seen
    assert 0 < len(told["asked"]) <= len(seen) < len(lines)


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
    assert after["base"].spec["few_shot"] == [2]
    assert not any(run.spec["few_shot"] for run in after.values() if run.trained)


def test_answer_and_completion_agree_on_the_prompt(tmp_path):
    """`answer` decodes from the same place that `completed` predicts from."""
    model, tokenizer, _ = loaded(tmp_path)
    ids = tokenizer("the first day of the time that you make water")["input_ids"]
    told = answer(model, [ids[:5]], tokenizer, max_new_tokens=1, batch_size=1)[0]
    likeliest = model(input_ids=torch.tensor([ids[:5]])).logits[0, -1].argmax().item()
    assert told.stopped or tokenizer.decode([likeliest], skip_special_tokens=True) == told.text
