"""A run that a person names, and where a study keeps what it was made from.

Commands that use a finished run (`show`, `chat`, `score`, `export`) name it in one of two ways: by its folder
(`results/miniature/runs/quotes/lora/seed-0`), or by its end (`quotes/lora`, `quotes/lora/seed-0`, `miniature/quotes/lora`) below
`results/`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunebook.errors import TunebookError
from tunebook.records import read_json
from tunebook.suggestions import nearest

RESULTS = Path("results")
RUN_HELP = "a finished run: its folder, or its name, such as quotes/lora or quotes/lora/seed-0"
BASE = "base"


@dataclass(frozen=True)
class ChosenRun:
    """The files of a run. The names are those of the stages' arguments, so that `finished.load` takes one."""

    name: str  # experiment/method/seed-0
    study: Path  # folder of the study
    folder: Path
    run: Path  # run.json
    model: Path
    adapter: Path | None  # None: the untouched model
    tokens: Path
    dataset: Path

    @property
    def experiment(self) -> str:
        return self.name.split("/")[0]

    @property
    def method(self) -> str:
        return self.name.split("/")[1]

    @property
    def within(self) -> str:
        """Its name within the experiment: method/seed-0, of a trial method/trial-KEY/seed-0."""
        return self.name.split("/", 1)[1]

    @property
    def seed(self) -> int:
        return int(self.name.rsplit("-", 1)[1])

    def require(self, *names: str) -> None:
        """Raise TunebookError where its folder lacks a file that the study makes."""
        missing = [name for name in names if not (self.folder / name).is_file()]
        if missing:
            raise TunebookError(
                f"{self.name}: found no {' and no '.join(missing)}; let the study finish (tunebook run), then repeat this command"
            )

    def untouched(self) -> ChosenRun:
        """The base run of the same experiment."""
        return _files(self.study, f"{self.experiment}/{BASE}/seed-0")


def choose_run(told: str, results: Path = RESULTS) -> ChosenRun:
    """Find the run that a person means. Raises TunebookError where there is none, more than one, or it is not finished."""
    folder = Path(told)
    if not (folder / "run.json").is_file():
        folder = _by_name(told.strip("/"), results)
    study = next((place.parent for place in folder.resolve().parents if place.name == "runs"), None)
    if study is None or not (study / "study.json").is_file():
        raise TunebookError(f"{folder}: found no study.json above it; name a run below results/STUDY/runs")
    chosen = _files(study, folder.resolve().relative_to(study / "runs").as_posix())
    if chosen.adapter is not None and not (chosen.folder / "training.json").is_file():
        raise TunebookError(
            f"{chosen.name}: not trained yet; let the study finish (tunebook run), then repeat this command"
        )
    return chosen


def _by_name(told: str, results: Path) -> Path:
    """The folder of a run by its name: EXPERIMENT/METHOD[/seed-N], with the study's name before it where two studies have it."""
    known = {_name_of(file, results): file.parent for file in sorted(results.glob("*/runs/**/run.json"))}
    if not known:
        raise TunebookError(
            f"{told}: no such folder with a run.json, and no run below {results}/; run a study first, or name a run's folder"
        )
    found = [name for name in known if any(f"/{end}/".startswith(f"/{told}/") for end in (name, name.split("/", 1)[1]))]
    final = [
        name for name in found if "/trial-" not in name
    ] or found  # a search's trials are meant by their full name only
    if len(final) == 1:
        return known[final[0]]
    if found:
        raise TunebookError(f"{told}: found {len(final)} runs of this name; name one of them: {', '.join(final)}")
    names = [name.split("/", 1)[1] for name in known if "/trial-" not in name]
    raise TunebookError(f"{told}: no such run{nearest(told, names)}; there are: {', '.join(names)}")


def _name_of(run: Path, results: Path) -> str:
    """STUDY/EXPERIMENT/METHOD/seed-N of a run.json."""
    study, _, *rest = run.parent.relative_to(results).parts
    return "/".join([study, *rest])


def _files(study: Path, name: str) -> ChosenRun:
    folder = study / "runs" / name
    record: dict[str, Any] = read_json(folder / "run.json")
    return ChosenRun(
        name=name,
        study=study,
        folder=folder,
        run=folder / "run.json",
        model=study.parent / "models" / record["model"]["name"],
        adapter=None if record["method"] == BASE else folder / "adapter",
        tokens=study / "tokens" / record["experiment"],
        dataset=study / "datasets" / record["dataset"]["name"],
    )
