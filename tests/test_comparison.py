"""config/comparison.yaml: what its header says of it, and that each machine it names can hold its runs."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tunebook.configuration.study import runs_of, trials_of
from tunebook.configuration.validation import validate
from tunebook.estimate import lines_of
from tunebook.resolve import resolve

FILE = Path(__file__).parents[1] / "config" / "comparison.yaml"


@pytest.fixture(scope="module")
def study():
    return validate(yaml.safe_load(FILE.read_text(encoding="utf-8")))


def test_each_method_of_each_task_has_the_same_search_and_three_seeds(study):
    assert len(study.experiments) == 2
    trials = trials_of(study)
    for name, experiment in study.experiments.items():
        assert len(experiment.methods) == 8
        assert experiment.seeds == (0, 1, 2)
        for method in experiment.methods:
            tried = {one.trial.key for one in trials if (one.experiment, one.method) == (name, method)}
            assert len(tried) == 6
    finals = [run for run in runs_of(study) if run.trained]
    assert (
        len(finals) + len({(one.experiment, one.method, one.trial.key) for one in trials}) - 2 * 8 == 128
    )  # trainings


def test_its_runs_fit_the_memory_that_the_header_names(study, tmp_path):
    resolve(study, tmp_path)
    lines = lines_of(tmp_path / "study.json", tmp_path / "models")
    assert [line.problem for line in lines] == [""] * 16
    assert [line.trainings for line in lines] == [8] * 16
    assert max(line.cpu.peak_bytes for line in lines) < 4e9
