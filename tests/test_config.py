"""The config: all that is wrong is said before anything runs, with its path, the value found and what is allowed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.broken_configs import BROKEN, OVERRIDES, TRAINING
from tests.configs import REMOVED, changed, valid_config, write_config
from tunebook.check import read_study
from tunebook.configuration import synonyms
from tunebook.configuration.config import Study
from tunebook.configuration.study import resolved, runs_of
from tunebook.configuration.validation import ConfigError, validate
from tunebook.errors import TunebookError

ROOT = Path(__file__).parents[1]
CLEAN = {**os.environ, "PYTHONPATH": str(ROOT / "workflow")}
SOURCE = {"type": "path", "path": "x"}


@pytest.mark.parametrize(("path", "value", "message"), BROKEN, ids=[case[0] for case in BROKEN])
def test_one_broken_key_is_named(path, value, message):
    with pytest.raises(ConfigError) as error:
        validate(changed(path, value))
    assert message in str(error.value)


def test_valid_config_passes():
    assert isinstance(validate(valid_config()), Study)


def test_numbers_as_yaml_reads_them_pass():
    """YAML takes 1e-3, without a point, for a text."""
    study = validate(changed(f"{TRAINING}.learning_rate", "1e-3"))
    assert study.experiments["sentiment"].training.learning_rate == 1e-3


@pytest.mark.parametrize("file", sorted((ROOT / "config").glob("*.yaml")), ids=lambda file: file.name)
def test_studies_of_the_project_pass(file):
    assert runs_of(read_study(file))


def test_all_problems_come_at_once():
    config = changed("models.writer.task", "chat")
    changed("datasets.pairs.prompt", "{{ question", config)
    changed("experiments.answers.dataset", "nowhere", config)
    changed(f"{TRAINING}.lr", 1, config)
    changed(f"{OVERRIDES}.full.training.learning_rate", "x", config)
    with pytest.raises(ConfigError, match="the config has 5 problems; nothing was run") as error:
        validate(config)
    paths = [problem.split(":")[0] for problem in error.value.problems]
    assert sorted(paths) == sorted(
        [
            "models.writer.task",
            "datasets.pairs.prompt",
            "experiments.answers.dataset",
            f"{TRAINING}.lr",
            f"{OVERRIDES}.full.training.learning_rate",
        ]
    )


def test_a_broken_model_is_not_a_dangling_one():
    with pytest.raises(ConfigError) as error:
        validate(changed("models.writer", None))
    assert error.value.problems == ["models.writer: found nothing; expected a mapping"]


@pytest.mark.parametrize("raw", [None, [], ["study"], "study", 3, {}])
def test_what_is_no_mapping_is_refused(raw):
    with pytest.raises(ConfigError, match="expected a mapping with study, models"):
        validate(raw)


def test_keys_that_are_no_text_are_refused():
    config = valid_config()
    config["experiments"][2023] = config["experiments"].pop("answers")
    with pytest.raises(ConfigError, match="2023: found the key 2023, which is no text; write it in quotes"):
        validate(config)
    with pytest.raises(ConfigError, match="None: found the key None, which is no text"):
        validate({**valid_config(), None: 1})


# name, bytes of the file, what the message must say
FILES = [
    ("empty", b"", "found nothing; expected a mapping with study"),
    ("a list", b"- study\n", "found ['study']; expected a mapping with study"),
    ("syntax", b"study: [small\ntitle: A\n", "line 2"),
    ("not UTF-8", "title: café\n".encode("latin-1"), "can't decode byte 0xe9"),
    ("NUL", b"title: a\0b\n", "special characters are not allowed"),
    ("no such day", b"title: 2023-13-45\n", "month must be in 1..12"),
    ("no such number", b"title: !!int ''\n", "not readable as YAML"),
    ("a key twice", b"study: a\ntitle: b\nstudy: c\n", "study: stands twice ("),
    ("a key twice below", b"models:\n  m: {task: causal-lm,\n    task: seq2seq-lm}\n", "models.m.task: stands twice ("),
    ("a part in itself", b"models: &m {a: *m}\n", "models.a: found an alias of a part that it stands in"),
    ("a set", b"title: !!set {a}\n", "title: found {'a'}, which YAML reads as set"),
]  # fmt: skip


@pytest.mark.parametrize(("content", "message"), [case[1:] for case in FILES], ids=[case[0] for case in FILES])
def test_broken_files_are_refused(tmp_path, content, message):
    file = tmp_path / "broken.yaml"
    file.write_bytes(content)
    with pytest.raises(TunebookError) as error:
        read_study(file)
    assert message in str(error.value)


def test_repeated_keys_are_told_with_their_lines(tmp_path):
    file = tmp_path / "twice.yaml"
    file.write_text("study: a\ntitle: b\nstudy: c\n")
    with pytest.raises(ConfigError, match=r"twice\.yaml, lines 1 and 3\)"):
        read_study(file)


@pytest.mark.parametrize(("name", "message"), [("absent.yaml", "no such file"), (".", "not readable (Is a directory)")])
def test_files_that_are_not_there_are_refused(tmp_path, name, message):
    with pytest.raises(TunebookError) as error:
        read_study(tmp_path / name)
    assert message in str(error.value)


def test_check_lists_the_runs(tmp_path):
    done = _run(sys.executable, "-m", "tunebook", "check", write_config(tmp_path, valid_config()))
    assert done.returncode == 0
    assert "sentiment/full/seed-1" in done.stdout
    assert len(done.stdout.splitlines()) == 5 + 4 + 1 + 1 + 1 + 1  # a base each; sentiment has two methods, two seeds


def test_check_refuses_without_a_traceback(tmp_path):
    broken = write_config(tmp_path, changed("models.writer.task", "chat"))
    done = _run(sys.executable, "-m", "tunebook", "check", broken)
    assert done.returncode == 2
    assert "models.writer.task: found 'chat'; allowed: causal-lm" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_snakemake_refuses_without_a_traceback(tmp_path):
    broken = write_config(tmp_path, changed("models.writer.task", "chat"))
    snakemake = Path(sys.executable).with_name("snakemake")
    done = _run(
        snakemake, "--dry-run", "--cores", "1", "--snakefile", ROOT / "Snakefile", "--configfile", broken, cwd=tmp_path
    )
    assert done.returncode != 0
    assert "models.writer.task: found 'chat'; allowed: causal-lm" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def _run(*command, cwd=ROOT):
    return subprocess.run(
        [str(word) for word in command], cwd=cwd, env=CLEAN, capture_output=True, text=True, timeout=60
    )


def _places(part, path=""):
    """Paths of all values of a config."""
    items = part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ()
    for key, value in items:
        yield f"{path}{key}"
        yield from _places(value, f"{path}{key}.")


PLACES = list(_places(valid_config()))
WORDS = st.sampled_from(["lora", "base", "0", "", "{{ x }}", "{% if", "writer", "a\0b", "\ud800", "csv", "1e-3", "nan"])
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | WORDS
KEYS = st.text(max_size=5) | st.sampled_from(["type", "label", "names", "training", "bf16"]) | st.integers() | st.none()
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=6
)
CHANGES = st.tuples(st.sampled_from(PLACES), st.just(REMOVED) | VALUES, st.none() | KEYS)


@given(st.lists(CHANGES, min_size=1, max_size=3))
@settings(max_examples=150, deadline=None, derandomize=True)
def test_any_change_is_either_valid_or_refused_in_words(changes):
    config = valid_config()
    for place, value, key in changes:
        _change(config, place, value, key)
    try:
        study = validate(config)
    except ConfigError as error:
        problems = error.problems
    else:
        problems = None
        names = [run.name for run in runs_of(study)]
        assert len(set(names)) == len(names)
        assert resolved(study)["study"] == study.study
    assert problems is None or (problems and all(": " in problem for problem in problems))


def _change(config, place, value, key):
    """Drop or replace what stands at a place, or put `key` beside it; a place that an earlier change took is left."""
    *above, last = place.split(".")
    part = config
    for step in above:
        try:
            part = part[int(step)] if isinstance(part, list) else part[step]
        except (KeyError, IndexError, TypeError, ValueError):
            return
    if isinstance(part, list):
        part[:] = part[:-1] if value is REMOVED else [*part, value]
    elif isinstance(part, dict):
        if key is not None and value is not REMOVED:
            part[key] = value
        elif value is REMOVED:
            part.pop(last, None)
        else:
            part[last] = value


def test_what_stands_for_a_key_of_another_tool_is_a_key_of_the_config():
    ours = set(synonyms.places(Study))
    keys = {place.rpartition(".")[2] for place in ours}
    assert set(synonyms.NAMES.values()) <= ours
    elsewhere = {"seed", "batch_size"}  # of other sections: the seed of a split, the batches of answers
    assert not (set(synonyms.NAMES) | set(synonyms.ABSENT)) & (keys - elsewhere)  # a key of ours needs no other name
    assert not set(synonyms.ABSENT) & set(synonyms.NAMES)
    assert set(synonyms.NOTES) <= set(synonyms.NAMES)
