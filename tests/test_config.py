"""The config: all that is wrong is said before anything runs, with its path, the value found and what is allowed."""

import datetime
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.configs import REMOVED, changed, valid_config, write_config
from tunebook.check import read_study
from tunebook.configuration.config import Study
from tunebook.configuration.study import resolved, runs_of
from tunebook.configuration.validation import ConfigError, validate
from tunebook.errors import TunebookError

ROOT = Path(__file__).parents[1]
CLEAN = {**os.environ, "PYTHONPATH": str(ROOT / "workflow")}
SOURCE = {"type": "path", "path": "x"}
TRAINING = "experiments.sentiment.training"
OVERRIDES = "experiments.sentiment.overrides"

# path, value put there (REMOVED takes it away), what the message must say
BROKEN = [
    # unknown keys, at every level
    ("modells", {}, "modells: unknown key (found an empty mapping); did you mean models?; allowed: study, title"),
    ("models.writer.licens", "MIT",
     "models.writer.licens: unknown key (found 'MIT'); did you mean licence?; allowed: task"),
    ("models.writer.source.pth", "x",
     "models.writer.source.pth: unknown key (found 'x'); did you mean path?; allowed: type"),
    ("models.judge.source.sha1", "0", "models.judge.source.sha1: unknown key (found '0'); did you mean sha256?"),
    ("datasets.lines.source.sead", 1, "datasets.lines.source.sead: unknown key (found 1); did you mean seed?"),
    ("datasets.pairs.colums", {}, "datasets.pairs.colums: unknown key (found an empty mapping); did you mean columns?"),
    ("datasets.pairs.format.delimeter", ";",
     "datasets.pairs.format.delimeter: unknown key (found ';'); did you mean delimiter?"),
    ("datasets.pairs.split.tset", 0.1, "datasets.pairs.split.tset: unknown key (found 0.1); did you mean test?"),
    ("methods.lora.adaptor", "lora", "methods.lora.adaptor: unknown key (found 'lora'); did you mean adapter?"),
    ("experiments.answers.model_name", "x", "experiments.answers.model_name: unknown key (found 'x')"),
    (f"{TRAINING}.learning_rat", 1, f"{TRAINING}.learning_rat: unknown key (found 1); did you mean learning_rate?"),
    ("experiments.answers.adapter.lora_r", 8,
     "allowed: r, lora_alpha, lora_dropout, target_modules, bias, modules_to_save"),
    ("experiments.answers.generation.max_tokens", 1, "unknown key (found 1); did you mean max_new_tokens?"),
    ("experiments.answers.published.loses", [],
     "experiments.answers.published.loses: unknown key (found []); did you mean losses?"),
    ("experiments.answers.published.losses.0.epochs", 1, "losses.0.epochs: unknown key (found 1); did you mean epoch?"),
    (f"{OVERRIDES}.full.trainings", {},
     f"{OVERRIDES}.full.trainings: unknown key (found an empty mapping); did you mean training?"),
    ("experiments.answers.gpus", 0, "experiments.answers.gpus: found 0; it should be greater than or equal to 1"),
    ("experiments.answers.gpus", 3,
     "experiments.answers.gpus: found 3, which does not divide the 8 rows of a step (8 per_device_train_batch_size x 1 "),
    # wrong types
    ("title", 5, "title: found 5; expected a text; write it in quotes"),
    ("title", None, "title: found nothing; expected a text"),
    ("title", datetime.date(2023, 1, 2), "title: found 2023-01-02, which YAML reads as date; write it in quotes"),
    ("models", [], "models: found []; expected a mapping"),
    ("models.writer", None, "models.writer: found nothing; expected a mapping"),
    ("models.writer.source", "hub", "models.writer.source: found 'hub'; expected a mapping"),
    ("models.writer.encoder_decoder", "perhaps",
     "models.writer.encoder_decoder: found 'perhaps'; expected true or false"),
    ("models.writer.skip_modules", "lm_head", "models.writer.skip_modules: found 'lm_head'; expected a list"),
    ("datasets.lines.source.rows", 50.5, "datasets.lines.source.rows: found 50.5; expected a whole number"),
    ("datasets.statements.labels", [True, "no"],
     "datasets.statements.labels.0: found True; expected a text; write it in quotes"),
    (f"{TRAINING}.learning_rate", "fast", f"{TRAINING}.learning_rate: found 'fast'; expected a number"),
    (f"{TRAINING}.learning_rate", math.inf, f"{TRAINING}.learning_rate: found inf; expected a finite number"),
    (f"{TRAINING}.max_steps", 16**9000, f"{TRAINING}.max_steps: found a number of 36001 bits; write a smaller one"),
    ("experiments.answers.methods", "lora", "experiments.answers.methods: found 'lora'; expected a list"),
    ("experiments.answers.methods", [["lora"], {}], "experiments.answers.methods.0: found ['lora']; expected a text"),
    ("experiments.answers.seeds", [[1], {}], "experiments.answers.seeds.0: found [1]; expected a whole number"),
    ("experiments.answers.adapter.target_modules", "all", "found 'all'; allowed: all-linear or a list"),
    ("experiments.answers.adapter.target_modules", [5], "target_modules.0: found 5; expected a text"),
    # out of range, or not one of the allowed
    ("title", "", "title: found ''; expected a text that is not empty"),
    (f"{TRAINING}.learning_rate", 0, f"{TRAINING}.learning_rate: found 0; it should be greater than 0"),
    (f"{TRAINING}.max_length", 4, f"{TRAINING}.max_length: found 4; it should be greater than or equal to 8"),
    ("experiments.answers.adapter.lora_dropout", 1, "lora_dropout: found 1; it should be less than 1"),
    ("experiments.answers.seeds", [-1],
     "experiments.answers.seeds.0: found -1; it should be greater than or equal to 0"),
    ("experiments.answers.methods", [], "experiments.answers.methods: found []; expected at least one entry"),
    ("experiments", {}, "experiments: found an empty mapping; expected at least one entry"),
    ("models.writer.task", "seq2seq",
     "found 'seq2seq'; allowed: causal-lm, seq2seq-lm, sequence-classification; did you mean seq2seq-lm?"),
    ("models.writer.source.type", "hubb", "models.writer.source: found 'hubb'; allowed: wheel, hub, path"),
    ("models.writer.source.type", REMOVED,
     "models.writer.source: found a mapping; expected a mapping with a type, one of wheel, hub, path"),
    ("methods.int8-lora.quantization", "int4", "methods.int8-lora.quantization: found 'int4'; allowed: int8, nf4"),
    ("models.judge.source.sha256", "123", "models.judge.source.sha256: found '123'; allowed: 64 hexadecimal digits"),
    ("study", "my study", "study: found 'my study'; allowed: a name of letters, digits, '.', '_' and '-'"),
    ("study", "datasets", "study: found datasets, a folder below results/ that all studies share"),
    ("study", "../elsewhere", "study: found '../elsewhere'; allowed: a name of letters"),
    ("study", "..", "study: found '..'; allowed: a name of letters, digits, '.', '_' and '-', starting with a letter"),
    ("models./etc/passwd", {}, "models./etc/passwd: found '/etc/passwd'; allowed: a name of letters"),
    ("models.a/b", {}, "models.a/b: found 'a/b'; allowed: a name of letters"),
    # missing
    ("study", REMOVED, "study: missing; this key is required"),
    ("models.writer.licence", REMOVED, "models.writer.licence: missing; this key is required"),
    ("datasets.pairs.format", REMOVED, "datasets.pairs.format: missing; say how the rows stand in the files"),
    ("datasets.statements.format.delimiter", REMOVED,
     "datasets.statements.format.delimiter: missing; delimited text needs it"),
    ("datasets.statements.format.names", REMOVED, "datasets.statements.format.names: missing; delimited text needs it"),
    ("datasets.pairs.format", {"type": "python"},
     "datasets.pairs.format.key: missing; name the variable that holds the rows"),
    # names that lead nowhere, or stand twice
    ("experiments.answers.model", "writter",
     "found 'writter', which models does not define; did you mean writer?; defined: writer, translator, judge"),
    ("experiments.answers.dataset", "pair",
     "experiments.answers.dataset: found 'pair', which datasets does not define; did you mean pairs?"),
    ("experiments.answers.methods", ["int4-lora"],
     "experiments.answers.methods.0: found 'int4-lora', which methods does not define; did you mean int8-lora?"),
    ("experiments.answers.methods", ["base", "lora"],
     "experiments.answers.methods.0: found base, which every experiment has already"),
    ("experiments.answers.methods", ["lora", "lora"],
     "experiments.answers.methods: found lora a second time; each method once"),
    ("experiments.answers.seeds", [3, 4, 3.0], "experiments.answers.seeds: found 3 twice in [3, 4, 3.0]; seeds differ"),
    ("datasets.statements.labels", ["up", "down", "up"],
     "datasets.statements.labels: found up twice in ['up', 'down', 'up']"),
    ("datasets.statements.format.names", ["label", "label"], "datasets.statements.format.names: found label twice"),
    ("methods.base", {}, "methods.base: reserved for the run that trains nothing; choose another name"),
    # data sets that cannot be
    ("datasets.pairs.text", "{{ answer }}", "datasets.pairs: found text and completion of text, messages, completion"),
    ("datasets.pairs.completion", REMOVED, "datasets.pairs: found none of text, messages, completion"),
    ("datasets.pairs.prompt", REMOVED, "datasets.pairs.prompt: missing; a completion needs a prompt"),
    ("datasets.talks.prompt", "{{ turns }}", "datasets.talks.prompt: found beside messages"),
    ("datasets.pairs.prompt", "{{ question",
     "datasets.pairs.prompt: found '{{ question'; not a Jinja template: unexpected end"),
    ("datasets.pairs.prompt", "{{ question | shout }}", "not a Jinja template: No filter named 'shout'"),
    ("datasets.pairs.prompt", "Question?", "datasets.pairs.prompt: found 'Question?'; it names no column"),
    ("datasets.pairs.prompt", "{{ range(3) }}", "it names no column"),
    ("datasets.statements.label", REMOVED, "datasets.statements.label: missing; labels are listed"),
    ("datasets.statements.labels", REMOVED,
     "datasets.statements.labels: missing; list the labels that column 'label' may hold"),
    ("datasets.statements.labels", ["positive"], "found one label, 'positive'; there is nothing to tell apart"),
    ("datasets.statements.labels", ["up ", "down"],
     "datasets.statements.labels.0: found 'up '; rows lose their outer white space"),
    ("datasets.statements.format.encoding", "utf-9",
     "datasets.statements.format.encoding: found 'utf-9'; not an encoding that Python knows"),
    ("datasets.statements.format.encoding", "rot13", "found 'rot13'; not an encoding"),
    ("datasets.lines.format", {"type": "csv"}, "datasets.lines.format: found for a generated source, which needs none"),
    ("datasets.pairs.format.names", ["q", "a"],
     "datasets.pairs.format.names: found ['q', 'a'], but csv takes encoding and delimiter"),
    ("datasets.pairs.format.delimiter", "||", "datasets.pairs.format.delimiter: found '||'; csv takes one character"),
    ("datasets.pairs.split", {"validation": 0.5, "test": 0.5},
     "datasets.pairs.split: found shares 0.5 and 0.5; together they must leave rows"),
    ("datasets.pairs.split.test", 2.5,
     "datasets.pairs.split.test: found 2.5; a share below 1 or a whole number of rows"),
    ("datasets.pairs.split.test", math.inf, "datasets.pairs.split.test: found inf"),
    # combinations that cannot be
    ("methods.full.quantization", "int8",
     "methods.full: found quantization 'int8' without an adapter; quantized weights cannot"),
    ("models.writer.encoder_decoder", True,
     "models.writer.encoder_decoder: found task 'causal-lm'; an assembled model needs task seq2seq-lm"),
    ("experiments.judging.dataset", "pairs",
     "experiments.judging: found task sequence-classification on data set pairs, which has no labels"),
    ("experiments.sentiment.dataset", "lines",
     "experiments.sentiment: found task seq2seq-lm on data set lines, which has no prompt and completion"),
    ("models.translator.dtype", "float16", "experiments.sentiment.model: found a seq2seq-lm model of dtype float16"),
    (TRAINING, {"fp16": True}, f"{TRAINING}.fp16: found true for a seq2seq-lm model; T5's activations overflow"),
    ("experiments.answers.training", {"bf16": True, "fp16": "yes"},
     "experiments.answers.training: found bf16 and fp16; choose one"),
    ("datasets.pairs.split.train", 2.5,
     "datasets.pairs.split.train: found 2.5; a share below 1 or a whole number of rows"),
    ("experiments.sentiment.generation", {"memorisation_rows": 4},
     "experiments.sentiment.generation.memorisation_rows: found for a seq2seq-lm model; only causal-lm models complete"),
    ("experiments.answers.mends", "answer",
     "experiments.answers.mends: found 'answer', which experiments does not define; did you mean answers?"),
    ("experiments.answers.mends", "answers", "experiments.answers.mends: found 'answers', the experiment itself"),
    ("experiments.answers.mends", "sentiment",
     "experiments.answers.mends: found 'sentiment', which has another model ('translator'); losses of different models"),
    # what a method does otherwise
    (f"{OVERRIDES}.ful", {"training": {}},
     f"{OVERRIDES}.ful: not among this experiment's methods; did you mean full?; found: full, lora"),
    (f"{OVERRIDES}.full.training.lr", 1,
     f"{OVERRIDES}.full.training.lr: unknown key (found 1); allowed: learning_rate"),
    (f"{OVERRIDES}.full.training.learning_rate", -1,
     f"{OVERRIDES}.full.training.learning_rate: found -1; it should be greater than 0"),
    (f"{OVERRIDES}.lora.adapter.r", 0, f"{OVERRIDES}.lora.adapter.r: found 0; it should be greater than or equal to 1"),
    (f"{OVERRIDES}.full.adapter", {"r": 4}, f"{OVERRIDES}.full.adapter: found for full, which has no adapter"),
    (f"{OVERRIDES}.full.training.max_length", 64,
     f"{OVERRIDES}.full.training.max_length: found here, but all methods of an experiment read the same tokens"),
    (f"{OVERRIDES}.full.training.fp16", True, f"{OVERRIDES}.full.training: found bf16 and fp16; choose one"),
    (f"{OVERRIDES}.full", None, f"{OVERRIDES}.full: found nothing; expected a mapping"),
]  # fmt: skip


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
