"""The hub's cache: downloads go on where they were, what is there is checked, and the environment says where it is."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import huggingface_hub.constants
import pytest

from tests import hub_server
from tests.small_hub import COMMIT, DATA, SECRET, fetched_model, model_spec
from tunebook.data.sources import files_of, hub_cache
from tunebook.errors import TunebookError
from tunebook.fetch_model import fetch_model


def test_a_dropped_connection_is_taken_up_again(hub, tmp_path):
    hub.faults["model.safetensors"] = "drops once"
    fetched_model(tmp_path)
    assert [request[2] is not None for request in hub.asked("model.safetensors")] == [False, True]


def test_a_killed_download_goes_on_where_it_was(hub, tmp_path):
    hub.faults["model.safetensors"] = "breaks off"
    with pytest.raises(TunebookError):
        fetched_model(tmp_path)
    hub.faults.clear()
    hub.requests.clear()
    fetched_model(tmp_path)
    size = len(hub.repositories["model", "small/llama", COMMIT]["model.safetensors"])
    kept = size // 2 // hub_server.CHUNK_BYTES * hub_server.CHUNK_BYTES
    assert [request[2] for request in hub.asked("model.safetensors")] == [f"bytes={kept}-"]
    assert not hub.asked("config.json")


def test_what_is_in_the_cache_is_checked_and_not_downloaded_again(hub, tmp_path):
    fetched_model(tmp_path)
    hub.requests.clear()
    fetched_model(tmp_path)
    assert hub.requests == []
    blob = max((tmp_path / "cache").rglob("blobs/*"), key=lambda file: file.stat().st_size)
    blob.write_bytes(blob.read_bytes()[:-1] + b"!")
    fetched_model(tmp_path)
    assert [request[1].rsplit("/")[-1] for request in hub.requests] == ["model.safetensors"]


def test_offline_the_cache_is_enough_and_its_lack_is_said(hub, tmp_path, monkeypatch):
    fetched_model(tmp_path)
    files_of(DATA, tmp_path)
    hub.requests.clear()
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    fetched_model(tmp_path)
    assert len(files_of(DATA, tmp_path).files) == 2
    assert len(files_of({**DATA, "revision": COMMIT[:8]}, tmp_path).files) == 2
    with pytest.raises(TunebookError, match=r"not, or not all, in the cache .*HF_HUB_OFFLINE is set"):
        fetch_model(model_spec("small/opt"), tmp_path / "results" / "other")
    assert hub.requests == []
    assert not (tmp_path / "results" / "other").exists()


def test_a_short_commit_id_is_looked_up_and_recorded_in_full(hub, tmp_path):
    assert files_of({**DATA, "revision": COMMIT[:7]}, tmp_path).revision == COMMIT
    with pytest.raises(TunebookError, match=r"found revision 1234567, but no commit begins with it \(looked at 1\)"):
        files_of({**DATA, "revision": "1234567"}, tmp_path)
    hub.add("dataset", "small/rows", COMMIT[:10] + "c" * 30, {})
    with pytest.raises(TunebookError, match="2 commits begin with it: aaaa"):
        files_of({**DATA, "revision": COMMIT[:7]}, tmp_path)


def test_the_environment_rules(hub, tmp_path):
    """HF_HOME, HF_ENDPOINT, HF_TOKEN and HF_HUB_OFFLINE, as the command of a rule reads them; its output tells no secret."""
    study = tmp_path / "study.json"
    study.write_text(json.dumps({"specs": {"fetch-model": {"m": model_spec()}}}))
    command = [sys.executable, "-m", "tunebook", "fetch-model", "--study", study, "--model", "m", "--output"]
    library = Path(hub_cache.__file__).parents[3]
    environment = {**os.environ, "HF_HOME": str(tmp_path / "home"), "HF_ENDPOINT": hub.address, "PYTHONPATH": library}
    environment.pop("HF_HUB_CACHE", None)
    first = subprocess.run([*command, tmp_path / "a"], env=environment, capture_output=True, text=True, check=False)
    assert first.returncode == 0, first.stderr
    assert (tmp_path / "home" / "hub" / "models--small--llama" / "snapshots" / COMMIT / "config.json").is_file()
    hub.faults["api"] = "500"
    offline = {**environment, "HF_HUB_OFFLINE": "1"}
    second = subprocess.run([*command, tmp_path / "b"], env=offline, capture_output=True, text=True, check=False)
    assert second.returncode == 0, second.stderr
    shutil.rmtree(tmp_path / "home")
    third = subprocess.run([*command, tmp_path / "c"], env=environment, capture_output=True, text=True, check=False)
    assert third.returncode == 2
    assert third.stderr.startswith("tunebook fetch-model: hub model small/llama: http://127.0.0.1")
    assert SECRET not in "".join(each.stdout + each.stderr for each in (first, second, third))
    assert not (tmp_path / "c").exists()


def test_huggingface_hub_still_needs_our_own_download():
    """Once it resumes what another process began, `hub_cache._download` can be its `hf_hub_download` again."""
    import inspect

    from huggingface_hub import file_download

    assert "uuid4()" in inspect.getsource(file_download._download_to_tmp_and_move)
