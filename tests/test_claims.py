"""A name of a model or a data set means one source, whichever study uses it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.configs import valid_config
from tunebook import __main__ as command_line
from tunebook.claims import refuse_other_sources
from tunebook.configuration.study import fetching_specs
from tunebook.configuration.validation import validate
from tunebook.errors import TunebookError
from tunebook.records import read_json
from tunebook.resolve import resolve


def study(name: str, seed: int = 0, licence: str = "MIT"):
    config = valid_config() | {"study": name}
    config["datasets"]["lines"] |= {"licence": licence}
    config["datasets"]["lines"]["source"] |= {"seed": seed}
    return validate(config)


@pytest.fixture
def results(tmp_path) -> Path:
    resolve(study("first"), tmp_path / "first")
    return tmp_path


def test_another_source_is_refused_with_both_sources_and_what_to_do(results):
    with pytest.raises(TunebookError, match=r'datasets\.lines: found \{"source":.*"seed":1') as raised:
        refuse_other_sources(fetching_specs(study("second", seed=1)), results, "second")
    message = str(raised.value)
    assert f"but study first ({results / 'first' / 'study.json'}) has" in message
    assert '"seed":0' in message
    assert "give this data set another name" in message


@pytest.mark.parametrize(("name", "seed", "licence"), [("second", 0, "MIT"), ("second", 0, "BSD"), ("first", 1, "MIT")])
def test_the_same_source_and_a_change_of_ones_own_are_not(results, name, seed, licence):
    refuse_other_sources(fetching_specs(study(name, seed, licence)), results, name)


def test_the_stage_refuses_too_and_leaves_what_is_there(results, capsys):
    lines = ["--dataset", "lines", "--output", str(results / "datasets" / "lines")]
    assert command_line.main(["fetch-dataset", "--study", str(results / "first" / "study.json"), *lines]) == 0
    resolve(study("second", seed=1), results / "second")
    assert command_line.main(["fetch-dataset", "--study", str(results / "second" / "study.json"), *lines]) == 2
    assert "but study first" in capsys.readouterr().err
    assert read_json(results / "datasets" / "lines" / "provenance.json")["source"]["seed"] == 0
