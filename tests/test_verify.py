"""`verify` finds each file that is not as it was published, and stages refuse to read it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.stages import run_stage
from tunebook import __main__ as command_line
from tunebook.digests import checked, digest_file
from tunebook.errors import TunebookError
from tunebook.finetuning import checkpoints
from tunebook.verify import verify

RUN = "results/runs/words/lora/seed-0"


@pytest.fixture
def study(finished_study, tmp_path) -> Path:
    """A copy of a finished study: results/ as one study's folder, models/ and datasets/ beside it."""
    folder = finished_study["results"].parent
    for name in ("results", "models", "datasets"):
        shutil.copytree(folder / name, tmp_path / "all" / name)
    return tmp_path / "all"


def flip(file: Path, bit: int) -> None:
    data = bytearray(file.read_bytes())
    bit %= 8 * len(data)
    data[bit // 8] ^= 1 << bit % 8
    file.write_bytes(data)


def test_a_whole_study_is_as_published_and_every_file_has_a_digest(study, capsys):
    findings = verify(study)
    assert findings.problems == []
    assert findings.unknown == []
    assert len(findings.checked) > 40
    run_stage("verify", "--results", study)
    assert "files are as published" in capsys.readouterr().out


def test_one_flipped_bit_in_any_published_file_is_found_and_named(study):
    for number, file in enumerate(sorted(verify(study).checked)):
        before = file.read_bytes()
        flip(file, bit=7919 * (number + 1))
        findings = verify(study)
        assert len(findings.problems) >= 1, file
        assert any(str(file) in problem for problem in findings.problems), (file, findings.problems)
        assert any(place == file or place in file.parents or place.parent in file.parents for place in findings.delete)
        file.write_bytes(before)
    digest = digest_file(study / RUN / "evaluation.json")
    flip(digest, bit=11)
    assert "evaluation.json" in str(verify(study))


def test_what_is_missing_is_found(study):
    (study / RUN / "adapter" / "adapter_model.safetensors").unlink()
    (study / "models" / "tiny" / "model.safetensors").unlink()
    told = str(verify(study))
    assert "adapter_model.safetensors: missing" in told
    assert "model.safetensors: missing" in told
    assert f"rm -r {study / 'models' / 'tiny'} {study / RUN / 'training.json'}" in told


def test_a_damaged_checkpoint_is_found(study):
    place = study / "results" / "checkpoints" / "0123" / "checkpoint-1"
    place.mkdir(parents=True)
    (place / "weights").write_bytes(b"weights")
    checkpoints.seal(place, {})
    assert verify(study).problems == []
    flip(place / "weights", bit=3)
    assert f"{place}: damaged" in str(verify(study))


def test_a_folder_that_is_not_there(tmp_path, capsys):
    assert command_line.main(["verify", "--results", str(tmp_path / "nothing")]) == 2
    assert "no such folder" in capsys.readouterr().err


def stage(name: str, study: Path) -> list[str]:
    folder = study / RUN
    arguments = [name, "--run", folder / "run.json", "--model", study / "models" / "tiny"]
    arguments += ["--tokens", study / "results" / "tokens" / "words", "--output", folder]
    if name == "train":
        return [str(part) for part in [*arguments, "--checkpoints", study / "results" / "checkpoints"]]
    rows = ["--dataset", study / "results" / "datasets" / "lines", "--adapter", folder / "adapter"]
    return [str(part) for part in [*arguments, *rows]]


READ = {  # what a stage reads -> the stage
    "models/tiny/model.safetensors": ("train", "evaluate"),
    "models/tiny/tokenizer.json": ("train", "sample"),
    "results/tokens/words/train/data-00000-of-00001.arrow": ("train",),
    "results/tokens/words/test/data-00000-of-00001.arrow": ("evaluate",),
    "results/datasets/lines/test.parquet": ("sample",),
    f"{RUN}/adapter/adapter_model.safetensors": ("evaluate", "sample"),
    f"{RUN}/run.json": ("train",),
}


@pytest.mark.parametrize("file", READ)
def test_a_stage_refuses_to_read_what_is_damaged(study, capsys, file):
    flip(study / file, bit=8 * (study / file).stat().st_size // 2 + 1)
    for name in READ[file]:
        before = (study / RUN / "evaluation.json").read_bytes()
        assert command_line.main(stage(name, study)) == 2
        told = capsys.readouterr().err
        assert Path(file).name in told
        assert "run the workflow again" in told
        assert (study / RUN / "evaluation.json").read_bytes() == before


def test_tables_refuse_damaged_records(study, capsys):
    flip(study / RUN / "history.csv", bit=900)
    tables = ["tables", "--study", str(study / "results" / "study.json"), "--output", str(study / "results" / "tables")]
    assert command_line.main(tables) == 2
    assert "history.csv: not the bytes that were published" in capsys.readouterr().err
    flip(study / RUN / "predictions.parquet", bit=900)
    with pytest.raises(TunebookError, match=r"predictions\.parquet: not the bytes"):
        checked(study / RUN / "predictions.parquet")
