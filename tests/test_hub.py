"""The hub source: the hub's real client against a small hub of our own that misbehaves, and what is left behind."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import huggingface_hub.constants
import pytest
import torch
from safetensors.torch import load_file

from tests.configs import changed
from tests.small_hub import COMMIT, DATA, MODEL, SECRET, fetched_model, model_spec
from tunebook import __main__ as command_line
from tunebook.configuration.datasets import Format
from tunebook.configuration.study import dump, fetching_specs
from tunebook.configuration.validation import ConfigError, validate
from tunebook.data.sources import files_of
from tunebook.errors import TunebookError
from tunebook.fetch_dataset import fetch_dataset
from tunebook.fetch_model import fetch_model


def nothing_half_written(tmp_path: Path) -> bool:
    results = tmp_path / "results"
    return not results.exists() or not list(results.rglob("*"))


def test_a_model_comes_with_what_is_needed_and_no_more(hub, tmp_path, capsys):
    folder = fetched_model(tmp_path)
    names = {file.name for file in folder.iterdir()}
    assert names >= {"config.json", "tokenizer.json", "model.safetensors", "provenance.json"}
    assert not any(name.endswith(".py") for name in names)
    assert not hub.asked("modeling_llama.py")
    record = json.loads((folder / "provenance.json").read_text())
    assert record["revision"] == COMMIT
    assert record["source"] == MODEL
    told = capsys.readouterr().out + (folder / "provenance.json").read_text()
    assert SECRET not in told
    assert {request[3] for request in hub.asked("small/")} == {f"Bearer {SECRET}"}


def test_a_data_set_gives_the_files_asked_for(hub, tmp_path):
    origin = files_of(DATA, tmp_path)
    assert [file.name for file in origin.files] == ["test.jsonl", "train.jsonl"]
    assert origin.revision == COMMIT
    assert not hub.asked("rows.py")


def test_a_data_set_is_fetched_as_rows(hub, tmp_path):
    spec = {"name": "rows", "source": DATA, "format": dump(Format(type="jsonl")), "licence": "none"}
    fetch_dataset(spec, tmp_path / "results" / "rows")
    record = json.loads((tmp_path / "results" / "rows" / "provenance.json").read_text())
    assert (record["rows"], record["revision"], record["synthetic"]) == (3, COMMIT, False)


def test_pickled_parts_become_the_same_safetensors(hub, tmp_path, hub_models):
    from transformers import AutoModelForCausalLM

    folder = fetched_model(tmp_path, name="small/opt")
    assert not list(folder.glob("*.bin*"))
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    assert set(index["weight_map"].values()) == {file.name for file in folder.glob("*.safetensors")}
    before = {}
    for part in (hub_models / "opt").glob("*.bin"):
        before |= torch.load(part, weights_only=True)
    after = {}
    for part in folder.glob("*.safetensors"):
        after |= load_file(part)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert torch.equal(model.get_input_embeddings().weight, before["model.decoder.embed_tokens.weight"])


def test_a_whole_pickle_with_shared_tensors_becomes_one_file(hub, tmp_path, hub_models):
    weights = torch.ones(4, 4)
    files = {"config.json": b'{"model_type": "opt"}'}
    torch.save({"a": weights, "b": weights, "c": weights[:2].t()}, tmp_path / "w.bin")
    files["pytorch_model.bin"] = (tmp_path / "w.bin").read_bytes()
    hub.add("model", "shared", COMMIT, files)
    folder = fetched_model(tmp_path, name="shared")
    assert load_file(folder / "model.safetensors")["c"].shape == (4, 2)
    assert not (folder / "model.safetensors.index.json").exists()


def test_references_to_code_of_its_own_are_left_out_where_the_architecture_is_known(hub, tmp_path):
    files = hub.repositories["model", "small/llama", COMMIT]
    config = {**json.loads(files["config.json"]), "auto_map": {"AutoModel": "modeling_llama.Model"}}
    files["config.json"] = json.dumps(config).encode()
    assert "auto_map" not in json.loads((fetched_model(tmp_path) / "config.json").read_text())
    config["model_type"] = "nobody-knows"
    hub.add("model", "own-code", COMMIT, {**files, "config.json": json.dumps(config).encode()})
    with pytest.raises(TunebookError, match="remote code is never run"):
        fetch_model(model_spec("own-code"), tmp_path / "results" / "own")
    assert not (tmp_path / "results" / "own").exists()


FAULTS = {  # case -> where the fault is, its name, the model asked for, what the message says
    "unknown id": ("", "", {"name": "small/lama"}, r"hub model small/lama: not there, or private \(status 401\).*check the id"),
    "unknown revision": ("", "", {"revision": "c" * 40}, f"no revision {'c' * 40} there.*/small/llama/commits/main"),
    "gated": ("api", "gated", {}, r"gated \(status 403\).*accept its terms on http.*HF_TOKEN"),
    "private": ("api", "401", {}, r"not there, or private \(status 401\), asked with the token in HF_TOKEN"),
    "forbidden": ("api", "403", {}, r"not there, or private \(status 403\)"),
    "gated file": ("model.safetensors", "gated", {}, r"gated \(status 403\)"),
    "rate limit": ("api", "429", {}, r"no more requests for now \(status 429\); wait 7 s, or set HF_TOKEN"),
    "rate limit on a file": ("model.safetensors", "429", {}, r"status 429\); wait 7 s"),
    "server error": ("api", "500", {}, r"has a fault of its own \(status 500\); wait, and run again"),
    "server error on a file": ("model.safetensors", "503", {}, r"fault of its own \(status 503\)"),
    "timeout": ("api", "stalls", {}, "does not answer in time.*HF_HUB_DOWNLOAD_TIMEOUT"),
    "timeout on a file": ("model.safetensors", "stalls", {}, "does not answer in time"),
    "connection dropped": ("api", "refuses", {}, "broke off.*run again"),
    "breaks off for good": ("model.safetensors", "breaks off", {}, "broke off.*goes on from there"),
    "truncated": ("model.safetensors", "short", {}, "came cut short .*run again"),
    "wrong bytes": ("model.safetensors", "wrong bytes", {}, "found digest [0-9a-f]{64}, the hub's list says [0-9a-f]{64}"),
    "wrong bytes of a small file": ("config.json", "wrong bytes", {}, "found digest [0-9a-f]{40}, the hub's list says"),
    "file gone": ("model.safetensors", "404", {}, r"status 404"),
    "no hub": ("api", "garbage", {}, "is no answer of a hub.*does HF_ENDPOINT name a hub"),
    "another commit": ("api", "another commit", {}, f"asked for commit {COMMIT}, the server answered f"),
    "disk too small": ("api", "enormous", {}, r"GB are to be downloaded to .* has .* free; make room, or let HF_HOME"),
    "secret said back": ("api", "echo", {}, r"status 418.*a secret"),
    "malicious pickle": ("", "", {"name": "small/evil"}, "pytorch_model-00001-of-00002.bin holds more than tensors"),
}  # fmt: skip


@pytest.mark.parametrize("case", FAULTS)
def test_a_fault_is_told_in_one_message_and_leaves_nothing(hub, tmp_path, case, capfd, caplog):
    place, fault, source, message = FAULTS[case]
    if fault:
        hub.faults[place] = fault
    with pytest.raises(TunebookError, match=message) as caught:
        fetched_model(tmp_path, **source)
    assert SECRET not in str(caught.value) + caplog.text + "".join(capfd.readouterr())
    assert nothing_half_written(tmp_path)
    assert not Path("/tmp/tunebook-was-here").exists()


def test_a_fault_of_ours_is_not_laid_at_the_hubs_door(hub, tmp_path, monkeypatch):
    def faulty(*_):
        raise KeyError("size")

    monkeypatch.setattr("tunebook.data.sources.hub.hub_selection.model_files", faulty)
    with pytest.raises(KeyError):
        fetched_model(tmp_path)


def test_after_a_fault_the_next_try_is_whole(hub, tmp_path):
    hub.faults["model.safetensors"] = "wrong bytes"
    with pytest.raises(TunebookError):
        fetched_model(tmp_path)
    hub.faults.clear()
    assert (fetched_model(tmp_path) / "provenance.json").exists()


def test_a_server_that_is_not_there(hub, tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(TunebookError, match=r"http://127\.0\.0\.1:9 cannot be reached .*HF_HUB_OFFLINE=1"):
        fetched_model(tmp_path)
    assert nothing_half_written(tmp_path)


def test_the_token_is_not_sent_on_to_where_large_files_lie(hub, tmp_path):
    hub.faults["model.safetensors"] = "elsewhere"
    fetched_model(tmp_path)
    assert [request[3] for request in hub.asked("model.safetensors")] == [f"Bearer {SECRET}", None]


def test_without_a_token_none_is_sent_and_that_is_said(hub, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "")
    monkeypatch.setattr(huggingface_hub.constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    (tmp_path / "token").write_text(SECRET)  # what `hf auth login` leaves is not ours to use
    hub.faults["api"] = "gated"
    with pytest.raises(TunebookError, match=r"asked with no token \(HF_TOKEN is not set\)"):
        fetched_model(tmp_path)
    assert {request[3] for request in hub.asked("small/")} == {None}


def test_a_full_disk(hub, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("huggingface_hub.file_download.http_get", full)
    with pytest.raises(TunebookError, match=r"no space left for .*cache; make room, or let HF_HOME"):
        fetched_model(tmp_path)
    assert nothing_half_written(tmp_path)


def test_a_disk_that_fills_while_the_model_is_copied(hub, tmp_path, monkeypatch, capsys):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    study = tmp_path / "study.json"
    study.write_text(json.dumps({"specs": {"fetch-model": {"m": model_spec()}}}))
    monkeypatch.setattr("tunebook.fetch_model.shutil.copyfile", full)
    output = str(tmp_path / "results" / "m")
    assert command_line.main(["fetch-model", "--study", str(study), "--model", "m", "--output", output]) == 2
    assert "no space left" in capsys.readouterr().err
    assert nothing_half_written(tmp_path)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"README.md": b"x"}, "no config.json, so that it is no model .* it holds: README.md"),
        ({"config.json": b"{}", "tf_model.h5": b"x"}, "no weights that are used here .* tf_model.h5"),
        ({"config.json": b"{}", "model.safetensors.index.json": b"[]"}, "is no index of weights"),
        (
            {"config.json": b"{}", "model.safetensors.index.json": b'{"weight_map": {"a": "model-1.safetensors"}}'},
            "names model-1.safetensors, which is not there",
        ),
        ({"config.json": b"{}", "pytorch_model.bin": b"not a pickle"}, "pytorch_model.bin"),
        (
            {"config.json": b'{"model_type": "llama"}', "model.safetensors": b"not tensors"},
            "not a whole safetensors file",
        ),
        ({"config.json": b"{}", "model.safetensors": b"not tensors"}, "found model_type None in its config.json"),
        ({"config.json": b"{}", "../../evil": b"x"}, r"file '../../evil' would leave the folder"),
    ],
)
def test_a_repository_without_a_usable_model(hub, tmp_path, files, message):
    hub.add("model", "odd", COMMIT, files)
    with pytest.raises(TunebookError, match=message):
        fetched_model(tmp_path, name="odd")
    assert nothing_half_written(tmp_path)


@pytest.mark.parametrize(
    ("files", "message"),
    [("data/*.csv", "no file matches 'data/\\*.csv'; it holds: README.md, data/test"), ("rows.py", "never run")],
)
def test_files_of_a_data_set_that_are_not_there(hub, tmp_path, files, message):
    with pytest.raises(TunebookError, match=message):
        files_of({**DATA, "files": files}, tmp_path)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("id", "https://huggingface.co/gpt2", "an id of the hub: owner/name, or a name alone; no address"),
        ("id", "a/b/c", "an id of the hub"),
        ("id", "../etc", "an id of the hub"),
        ("revision", "main", "a branch or a tag can move, so that it pins nothing"),
        ("revision", "abc123", "a commit id, 40 hexadecimal digits in small letters"),
        ("revision", 3364976, "expected a text; write it in quotes"),
        ("files", "*.csv", "unknown key"),
    ],
)
def test_a_config_pins_what_it_fetches(key, value, message):
    with pytest.raises(ConfigError, match=message):
        validate(changed("models.writer.source", {**MODEL, key: value}))


def test_a_spec_tells_models_from_data_sets():
    config = changed("models.writer.source", MODEL, changed("datasets.pairs.source", DATA))
    specs = fetching_specs(validate(config))
    assert specs["fetch-model"]["writer"]["source"] == MODEL
    assert specs["fetch-dataset"]["pairs"]["source"] == DATA
