"""Sources: files come from where the config says, are what it pins, and stay where they are put."""

import json
import re
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas
import pytest

from tests.configs import valid_config
from tunebook.configuration.study import fetching_specs
from tunebook.configuration.validation import validate
from tunebook.data.sources import files_of
from tunebook.digests import sha256_of
from tunebook.errors import TunebookError
from tunebook.fetch_dataset import fetch_dataset

MEMBERS = {
    "tiny_data/talks/a.yml": "conversations:\n- [Hello?, Hi!]\n- [How are you?, Fine., Really?, Yes]\n",
    "tiny_data/talks/b.yml": "conversations:\n- [Who are you?, A test.]\n",
    "tiny_data/__init__.py": "raise RuntimeError('imported')\n",
}


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    """A package index in a folder: tiny-data 1.0, and 2.0 with a member that would leave its folder."""
    folder = tmp_path_factory.mktemp("index")
    _write_wheel(folder, "1.0", MEMBERS)
    _write_wheel(folder, "2.0", {**MEMBERS, "tiny_data/../../escaped.yml": "conversations: []\n"})
    return folder


@pytest.fixture(autouse=True)
def _offline(index, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    monkeypatch.setenv("PIP_DISABLE_PIP_VERSION_CHECK", "1")


def _write_wheel(folder, version, members):
    information = f"tiny_data-{version}.dist-info"
    extra = {
        f"{information}/METADATA": f"Metadata-Version: 2.1\nName: tiny-data\nVersion: {version}\n",
        f"{information}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{information}/RECORD": "",
    }
    with zipfile.ZipFile(folder / f"tiny_data-{version}-py3-none-any.whl", "w") as wheel:
        for name, content in (members | extra).items():
            wheel.writestr(name, content)


def wheel_source(index, version="1.0", file="tiny_data/talks/*.yml", sha256=None):
    archive = index / f"tiny_data-{version}-py3-none-any.whl"
    known = sha256_of(archive) if archive.exists() else "0" * 64
    return {"type": "wheel", "package": "tiny-data", "version": version, "sha256": sha256 or known, "file": file}


def path_source(path, sha256=None):
    return {"type": "path", "path": str(path), "sha256": sha256}


@pytest.mark.parametrize("file", ["tiny_data/talks/*.yml", "tiny_data/talks/"])
def test_wheel_gives_the_files_asked_for(index, tmp_path, file):
    origin = files_of(wheel_source(index, file=file), tmp_path)
    assert [path.name for path in origin.files] == ["a.yml", "b.yml"]
    assert origin.files[1].read_text() == MEMBERS["tiny_data/talks/b.yml"]
    assert origin.revision == "1.0"
    assert origin.sha256 == sha256_of(index / "tiny_data-1.0-py3-none-any.whl")


def test_another_file_than_the_pinned_one_is_refused(index, tmp_path):
    with pytest.raises(
        TunebookError, match=f"wheel tiny-data==1.0: found sha256 [0-9a-f]{{64}}, the config says {'a' * 64}"
    ):
        files_of(wheel_source(index, sha256="a" * 64), tmp_path)


def test_a_version_that_is_not_there_is_refused(index, tmp_path):
    with pytest.raises(TunebookError, match=r"wheel tiny-data==3\.0: pip could not download it: ERROR.*check the name"):
        files_of(wheel_source(index, version="3.0"), tmp_path)


def test_a_member_that_is_not_there_is_refused(index, tmp_path):
    with pytest.raises(TunebookError, match=r"no file matches 'tiny_data/talk/'; it holds: tiny_data-1\.0\.dist-info"):
        files_of(wheel_source(index, file="tiny_data/talk/"), tmp_path)


def test_a_member_that_would_leave_the_folder_is_refused(index, tmp_path):
    workdir = tmp_path / "work" / "here"
    workdir.mkdir(parents=True)
    with pytest.raises(TunebookError, match=r"member 'tiny_data/\.\./\.\./escaped\.yml' would leave the folder"):
        files_of(wheel_source(index, version="2.0", file="tiny_data/*.yml"), workdir)
    assert not list(tmp_path.rglob("escaped.yml"))


@pytest.fixture
def folder(tmp_path):
    for name in ("b.csv", "a.csv", "deep/c.csv"):
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name).write_text(f"text\n{name}\n")
    return tmp_path / "data"


@pytest.mark.parametrize(
    ("path", "names"),
    [("a.csv", ["a.csv"]), ("", ["a.csv", "b.csv", "c.csv"]), ("*.csv", ["a.csv", "b.csv"]), ("[b]*", ["b.csv"])],
)
def test_path_is_a_file_a_folder_or_a_pattern(folder, path, names):
    origin = files_of(path_source(folder / path), folder)
    assert [file.name for file in origin.files] == names
    assert origin.revision == f"sha256:{origin.sha256}"


def test_path_is_the_file_that_was_pinned(folder):
    sha256 = sha256_of(folder / "a.csv")
    assert files_of(path_source(folder / "a.csv", sha256), folder).sha256 == sha256
    (folder / "a.csv").write_text("text\nanother\n")
    with pytest.raises(
        TunebookError, match=f"found sha256 [0-9a-f]{{64}}, the config says {sha256}; the file has changed"
    ):
        files_of(path_source(folder / "a.csv", sha256), folder)


def test_a_folder_changes_with_its_files(folder):
    before = files_of(path_source(folder), folder).sha256
    (folder / "deep" / "c.csv").write_text("text\nanother\n")
    assert files_of(path_source(folder), folder).sha256 != before


@pytest.mark.parametrize("path", ["nowhere.csv", "*.parquet"])
def test_a_path_with_nothing_there_is_refused(folder, path):
    with pytest.raises(TunebookError, match=r"no file there; give an existing file, folder or pattern \(found from /"):
        files_of(path_source(folder / path), folder)


def provenance_keys() -> set[str]:
    """Keys of a data set's provenance.json as results/README.md promises them."""
    readme = (Path(__file__).parents[1] / "results" / "README.md").read_text()
    line = next(line for line in readme.splitlines() if line.startswith("| `.../provenance.json` |"))
    groups = re.findall("`([^`]*)`", line.split("|")[2])
    return {key.strip() for group in groups for key in group.split(",")} - {"parameters"}


def fetched(folder, name, **changed):
    """Fetch one data set of the valid config, changed. Returns its raw rows and its provenance."""
    config = valid_config()
    config["datasets"][name] |= changed
    fetch_dataset(fetching_specs(validate(config))["fetch-dataset"][name], folder / name)
    provenance = json.loads((folder / name / "provenance.json").read_text())
    return pandas.read_parquet(folder / name / "raw.parquet"), provenance


def test_generated_rows_from_config_to_provenance(tmp_path):
    raw, provenance = fetched(tmp_path, "lines")
    assert len(raw) == provenance["rows"] == 100
    assert set(json.loads(raw["values"].iloc[0])) == {"case", "assessment"}
    assert list(raw["_row"]) == list(range(1, 101))
    assert set(provenance) == provenance_keys()
    assert (provenance["name"], provenance["kind"], provenance["synthetic"]) == ("lines", "dataset", True)
    assert provenance["revision"] == "seed 0, 100 rows"
    assert provenance["files"] == ["raw.parquet"]
    assert provenance["bytes"] == (tmp_path / "lines" / "raw.parquet").stat().st_size
    age = datetime.now(UTC) - datetime.fromisoformat(provenance["retrieved"])
    assert timedelta(0) <= age < timedelta(minutes=1)


def test_generated_rows_are_told_apart_by_their_seed(tmp_path):
    source = {"type": "generated", "generator": "clinical-vignettes", "rows": 20}
    sums = [fetched(tmp_path, "lines", source=source | {"seed": seed})[1]["sha256"] for seed in (0, 1, 0)]
    assert sums[0] == sums[2] != sums[1]


def test_rows_of_a_wheel_know_their_file_and_record(index, tmp_path):
    raw, provenance = fetched(tmp_path, "talks", source=wheel_source(index))
    assert list(zip(raw["_file"], raw["_row"], strict=True)) == [("a.yml", 1), ("a.yml", 2), ("b.yml", 1)]
    assert json.loads(raw["values"].iloc[1]) == {"turns": ["How are you?", "Fine.", "Really?", "Yes"]}
    assert set(provenance) == provenance_keys()
    assert not provenance["synthetic"]
    assert provenance["sha256"] == sha256_of(index / "tiny_data-1.0-py3-none-any.whl")


def test_what_cannot_be_fetched_leaves_what_was_there(index, tmp_path):
    fetched(tmp_path, "talks", source=wheel_source(index))
    before = (tmp_path / "talks" / "provenance.json").read_text()
    with pytest.raises(TunebookError, match="no file matches"):
        fetched(tmp_path, "talks", source=wheel_source(index, file="nothing"))
    assert (tmp_path / "talks" / "provenance.json").read_text() == before
    assert [path.name for path in tmp_path.iterdir()] == ["talks"]
