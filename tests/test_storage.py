"""Files and folders appear whole or not at all, whoever writes them at the same time and whenever the power is cut."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.powercut import recorded
from tunebook import storage
from tunebook.digests import checked, digests_of
from tunebook.errors import TunebookError
from tunebook.finetuning import checkpoints
from tunebook.records import read_json, write_json, write_text
from tunebook.storage import folder_in_place, lock, replace_file

WORKFLOW = Path(__file__).parents[1] / "workflow"
WRITER = """
import sys, time
from pathlib import Path
from tunebook.digests import digests_of
from tunebook.records import write_json, write_text
from tunebook.storage import folder_in_place

for _ in range(int(sys.argv[2])):
    with folder_in_place(Path(sys.argv[1])) as folder:
        for number in range(5):
            (folder / "part").mkdir(exist_ok=True)
            write_text(folder / "part" / f"{number}.txt", "text")
            time.sleep(0.001)
        write_json(folder / "provenance.json", {"digests": digests_of(folder)})
"""
FILES = {f"part/{number}.txt" for number in range(5)}


def writers(count: int, folder: Path, times: int) -> list[subprocess.Popen]:
    command = [sys.executable, "-c", WRITER, str(folder), str(times)]
    environment = {**os.environ, "PYTHONPATH": str(WORKFLOW)}
    return [subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) for _ in range(count)]


def test_two_that_make_the_same_folder_leave_it_whole(tmp_path):
    folder = tmp_path / "made"
    for process in writers(2, folder, times=20):
        _, told = process.communicate(timeout=120)
        assert process.returncode == 0, told
    assert set(read_json(folder / "provenance.json")["digests"]) == FILES == set(digests_of(folder))
    assert [path.name for path in tmp_path.iterdir()] == ["made"]  # no partial folder, no lock


def test_what_a_dead_process_left_is_removed_and_what_a_living_one_writes_is_not(tmp_path):
    (process,) = writers(1, tmp_path / "made", times=10_000)
    while not list(tmp_path.glob(".made.*.part")):
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    (tmp_path / ".made.0123456789ab.part").mkdir(exist_ok=True)  # whatever moment the kill hit
    living = tmp_path / ".made.more.0123456789ab.part"  # of another folder, whose name begins alike
    living.mkdir()
    with folder_in_place(tmp_path / "made") as folder:
        (folder / "file").touch()
    assert sorted(path.name for path in tmp_path.iterdir()) == [living.name, "made"]


def _made_without_its_folder(path: Path) -> None:
    with folder_in_place(path) as folder:
        shutil.rmtree(folder)
        write_json(folder / "provenance.json", {})


def test_a_partial_folder_that_is_taken_away_is_not_made_again(tmp_path):
    with pytest.raises(TunebookError, match="removed while it was written; nothing was published"):
        _made_without_its_folder(tmp_path / "made")
    assert list(tmp_path.iterdir()) == []


def test_a_lock_has_one_holder_and_leaves_no_file(tmp_path):
    with lock(tmp_path / "thing") as held:
        assert held.locked
        assert not held.waited
        assert [path.name for path in tmp_path.iterdir()] == [".thing.lock"]
    assert list(tmp_path.iterdir()) == []


def test_without_locks_nothing_of_others_is_removed(tmp_path, monkeypatch, capsys):
    def unsupported(number, operation):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(storage.fcntl, "flock", unsupported)
    other = tmp_path / ".file.0123456789ab.part"
    other.touch()
    replace_file(tmp_path / "file", lambda partial: partial.write_text("text"))
    assert sorted(path.name for path in tmp_path.iterdir()) == [other.name, "file"]
    assert "no locks in" in capsys.readouterr().out


def _published(folder: Path) -> None:
    write_text(folder / "runs" / "history.csv", "step\n1\n")
    with folder_in_place(folder / "adapter") as partial:
        (partial / "weights").write_bytes(b"weights" * 1000)  # as a library would, without a flush
    write_json(folder / "training.json", {"digests": {"adapter/weights": ""}})


def test_a_power_cut_after_any_rename_leaves_what_is_published_whole(tmp_path):
    study, pictures = tmp_path / "study", tmp_path / "pictures"
    study.mkdir()
    (study / "adapter").mkdir()
    (study / "adapter" / "weights").write_bytes(b"older")
    with recorded(study, pictures) as recorder:
        _published(study)
        recorder.picture()
    assert len(recorder.pictures) > 5
    for picture in recorder.pictures:
        for file in picture.rglob("*"):
            if file.is_file() and not any(part.startswith(".") for part in file.relative_to(picture).parts):
                assert file.stat().st_size > 0, file
        if (picture / "training.json").exists():  # the record is written last
            assert (picture / "adapter" / "weights").read_bytes() == b"weights" * 1000
            assert (picture / "runs" / "history.csv").read_text() == "step\n1\n"
    last = recorder.pictures[-1]
    assert sorted(path.relative_to(last) for path in last.rglob("*")) == sorted(
        path.relative_to(study) for path in study.rglob("*")
    )


def test_the_recorder_sees_what_is_not_flushed(tmp_path):
    study, pictures = tmp_path / "study", tmp_path / "pictures"
    study.mkdir()
    with recorded(study, pictures) as recorder:
        (study / "partial").write_text("text")
        os.replace(study / "partial", study / "file")
        with (study / "file").open("rb") as handle:
            os.fsync(handle)
        recorder.picture()
    assert [list(picture.iterdir()) for picture in recorder.pictures] == [[], []]  # the folder was not flushed


def checkpoint(folder: Path, step: int) -> Path:
    place = folder / f"checkpoint-{step}"
    place.mkdir(parents=True)
    (place / "weights").write_bytes(bytes(range(200)))
    (place / "trainer_state.json").write_text(json.dumps({"best_global_step": step}))
    return place


def test_a_checkpoint_is_on_the_disk_before_older_ones_go(tmp_path):
    work, pictures = tmp_path / "work", tmp_path / "pictures"
    for step in (1, 2):
        checkpoints.seal(checkpoint(work, step), {"step": step})
    with recorded(work, pictures) as recorder:
        for step in (3, 4):
            checkpoints.seal(checkpoint(work, step), {"step": step})
            recorder.picture()
            checkpoints.thin(work, step)
            recorder.picture()
    for picture in recorder.pictures:
        newest = checkpoints.latest_whole(picture)
        assert newest is not None
    assert [checkpoints.step_of(checkpoints.latest_whole(picture)) for picture in recorder.pictures[-2:]] == [4, 4]


def test_each_flipped_bit_of_a_seal_is_noticed(tmp_path):
    place = checkpoint(tmp_path, 1)
    checkpoints.seal(place, {"wall_s": 1.5e-7, "device": "CPU, 1 thread (größer)", "stopped_early": True, "steps": 100})
    seal = place / checkpoints.SEAL
    whole = seal.read_bytes()
    assert checkpoints.read_seal(place)["facts"]["steps"] == 100
    for number in range(8 * len(whole)):
        data = bytearray(whole)
        data[number // 8] ^= 1 << number % 8
        seal.write_bytes(data)
        assert checkpoints.read_seal(place) is None, (number, bytes(data))
    for name in ("weights", "trainer_state.json"):
        seal.write_bytes(whole)
        (place / name).write_bytes((place / name).read_bytes()[:-1] + b"\0")
        assert checkpoints.read_seal(place) is None


def test_each_flipped_bit_of_a_record_or_its_digest_is_noticed(tmp_path):
    write_json(tmp_path / "record.json", {"loss": 1e-7, "text": "ä"})
    checked(tmp_path / "record.json")
    for file in sorted(tmp_path.iterdir()):
        whole = file.read_bytes()
        for number in range(8 * len(whole)):
            data = bytearray(whole)
            data[number // 8] ^= 1 << number % 8
            file.write_bytes(data)
            with pytest.raises(TunebookError, match="not the bytes that were published"):
                checked(tmp_path / "record.json")
        file.write_bytes(whole)


def test_a_record_that_lacks_a_key_names_its_file(tmp_path):
    write_json(tmp_path / "record.json", {"run": 1})
    with pytest.raises(TunebookError, match=r"record\.json: no 'loss' in it; another version"):
        read_json(tmp_path / "record.json")["loss"]
    (tmp_path / "empty.json").touch()
    with pytest.raises(TunebookError, match=r"empty\.json: not JSON"):
        read_json(tmp_path / "empty.json")
