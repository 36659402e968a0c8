"""Documents that say again what the code says: config/README.md, results/README.md and the config's JSON schema."""

import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path

import jsonschema
import pandas
import pytest
import yaml

from tests.configs import REMOVED, changed, valid_config
from tests.stages import run_stage
from tunebook import __main__ as command_line
from tunebook import rehearse
from tunebook.configuration import adapters, config, datasets, published, search, sources
from tunebook.configuration.section import Section
from tunebook.configuration.styles import styled
from tunebook.configuration.validation import ConfigError, validate
from tunebook.cost.plan import plan_of
from tunebook.estimate import lines_of
from tunebook.records import read_json
from tunebook.reporting.figure_names import figure_names
from tunebook.resolve import resolve
from tunebook.schema import schema_text

ROOT = Path(__file__).parents[1]
README = (ROOT / "config" / "README.md").read_text(encoding="utf-8")
SCHEMA = ROOT / "workflow" / "schemas" / "config.schema.json"
HEADINGS = {  # section of the config -> where the README has its table: a heading, or a sentence below one
    config.Study: "### Study",
    config.Model: "### Model",
    sources.Wheel: "`type: wheel`",
    sources.HubModel: "`type: hub`, for models",
    sources.HubDataset: "`type: hub`, for data",
    sources.LocalPath: "`type: path`",
    sources.RandomModel: "`type: random`",
    sources.Generated: "`type: generated`",
    datasets.Dataset: "### Dataset",
    datasets.Format: "### Format",
    datasets.Split: "### Split",
    config.Method: "### Method",
    config.Experiment: "### Experiment",
    config.Training: "### Training",
    adapters.Lora: "### Adapter",
    adapters.IA3: "#### ia3",
    adapters.Vera: "#### vera",
    adapters.RandLora: "#### randlora",
    adapters.Oft: "#### oft",
    adapters.LNTuning: "#### ln_tuning",
    adapters.PromptTuning: "#### prompt_tuning",
    adapters.PrefixTuning: "#### prefix_tuning",
    adapters.PTuning: "#### p_tuning",
    config.Overrides: "### Overrides",
    search.Search: "### Search",
    search.Range: "### Range",
    config.Generation: "### Generation",
    published.Published: "### Published",
    published.PublishedLoss: "### Published loss",
    published.PublishedRows: "### Published rows",
}
MODULES = (config, adapters, datasets, published, search, sources)
CLASSES = [one for module in MODULES for one in vars(module).values() if isinstance(one, type)]
SECTIONS = [
    one
    for one in dict.fromkeys(CLASSES)
    if issubclass(one, Section)
    and one not in (Section, adapters.Adapter, adapters.LayerAdapter, adapters.PromptAdapter, search.Space)
]


def table_below(heading: str) -> dict[str, str]:
    """Key -> default, both as the first table below a heading has them."""
    after = README[re.search(rf"^{re.escape(heading)}([,:]|$)", README, re.MULTILINE).end() :]
    lines = after[re.search(r"^\|---.*\n", after, re.MULTILINE).end() :].split("\n\n")[0].splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {line[0].strip("`"): line[3] for line in cells}


def told_default(field) -> object:
    """What a default's cell must hold: the value, or the words that stand for it."""
    if field.is_required():
        return "required"
    default = field.default
    if isinstance(default, Section) or (isinstance(default, dict) and default):
        return "see"
    return list(default) if isinstance(default, tuple) else default


def read_default(cell: str) -> object:
    if cell == "required":
        return cell
    return "see" if cell.startswith("see ") else yaml.safe_load(cell.strip("`"))


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.__name__)
def test_readme_has_every_key_with_its_default(section):
    told = table_below(HEADINGS[section])
    missing = sorted(set(section.model_fields) - set(told))
    unknown = sorted(set(told) - set(section.model_fields))
    assert not missing, f"config/README.md, {HEADINGS[section]}: add {', '.join(missing)}"
    assert not unknown, f"config/README.md, {HEADINGS[section]}: no such key: {', '.join(unknown)}"
    read = {key: read_default(cell) for key, cell in told.items()}
    wrong = {key: read[key] for key, field in section.model_fields.items() if read[key] != told_default(field)}
    assert not wrong, f"config/README.md, {HEADINGS[section]}: defaults that are not those of config.py: {wrong}"


def test_readme_names_the_default_methods():
    methods = config.Study.model_fields["methods"].default
    paragraph = README[README.index("### Method") :].split("\n\n")[1]
    for name, method in methods.items():
        assert f"`{name}`" in paragraph
        assert method.quantization is None or f"`quantization: {method.quantization}`" in paragraph


EXAMPLES = re.findall(r"^```yaml\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_examples_of_the_readme_are_valid(number):
    example = yaml.safe_load(EXAMPLES[number])
    if "study" in example:
        validate(example)
    elif "datasets" in example:
        study = valid_config()
        study["datasets"] |= example["datasets"]
        validate(study)
    else:
        study = valid_config()
        study["experiments"]["sentiment"] |= example
        validate(study)


def test_typos_of_the_readme_are_told_as_it_says():
    told = re.search(r"^tunebook check: (the config has .*?)^```", README, re.MULTILINE | re.DOTALL)[1].splitlines()
    example = yaml.safe_load(EXAMPLES[0].replace("licence: Apache-2.0", "licens: MIT").replace("5.0e-4", "0"))
    with pytest.raises(ConfigError) as refused:
        validate(example)
    said = str(refused.value).splitlines()
    assert [line.split(" task,")[0] for line in said] == [line.split(" task,")[0] for line in told]


def test_the_readmes_study_is_estimated_at_once(tmp_path):
    resolve(validate(yaml.safe_load(EXAMPLES[0])), tmp_path)
    lines = lines_of(tmp_path / "study.json", tmp_path / "models")
    assert [(line.name, line.problem) for line in lines] == [("faq/lora", "")]
    assert lines[0].download == 98_000_000
    assert plan_of(lines[0], tmp_path / "study.json").validations  # so that a rehearsal can say how long it takes


def test_readme_has_an_example_of_each_kind():
    datasets = [dataset for text in EXAMPLES for dataset in yaml.safe_load(text).get("datasets", {}).values()]
    assert [dataset["format"]["type"] for dataset in datasets] == [
        "csv",
        "delimited",
        "jsonl",
        "json",
        "jsonl",
        "text",
        "csv",
    ]
    shapes = [
        next(key for key in ("label", "completion", "messages", "text") if key in styled(each)) for each in datasets
    ]
    assert shapes == ["completion", "label", "messages", "messages", "text", "text", "completion"]


def test_schema_is_that_of_the_config():
    mend = "python -m tunebook schema > workflow/schemas/config.schema.json"
    assert SCHEMA.exists(), f"no schema; mend with: {mend}"
    assert SCHEMA.read_text(encoding="utf-8") == schema_text(), f"the schema is behind config.py; mend with: {mend}"


@pytest.fixture(scope="module")
def schema():
    made = json.loads(schema_text())
    jsonschema.Draft202012Validator.check_schema(made)
    return jsonschema.Draft202012Validator(made)


@pytest.mark.parametrize("file", sorted((ROOT / "config").glob("*.yaml")), ids=lambda file: file.name)
def test_schema_accepts_the_studies_of_the_project(schema, file):
    schema.validate(yaml.safe_load(file.read_text(encoding="utf-8")))


def test_schema_accepts_the_smallest_and_refuses_a_typo(schema):
    schema.validate(valid_config())
    for path, value in (
        ("titel", "x"),
        ("models.writer.task", "chat"),
        ("study", REMOVED),
        ("models.writer.source", {}),
    ):
        assert not schema.is_valid(changed(path, value)), path


RESULTS = (ROOT / "results" / "README.md").read_text(encoding="utf-8")


def keys_of(record: object) -> set[str]:
    """The keys of a record, or of a list's first, and of the records in it that are told besides."""
    if not isinstance(record, dict):
        return keys_of(record[0]) if isinstance(record, list) and record else set()
    within = ("runs", "few_shot", "draws", "decoding", "neutral_text", "memorisation")
    return set(record).union(*(keys_of(record.get(name)) for name in within))


@pytest.fixture(scope="module")
def written(finished_study, tmp_path_factory):
    """File as results/README.md names it -> the keys or columns that the stages wrote."""
    results, study, out = finished_study["results"], finished_study["study"], tmp_path_factory.mktemp("out")
    run_stage("tables", "--study", study, "--output", out / "tables")
    models = finished_study["model"].parent
    run_stage("estimate", "--study", study, "--models", models, "--output", out / "estimate.csv")
    found = {f"tables/{file.name}": set(pandas.read_csv(file)) for file in (out / "tables").glob("*.csv")}
    del found["tables/rows-words.csv"]  # columns are named after methods
    found["tables/tables.md"] = found["tables/tables.tex"] = set()
    found["estimate.csv"] = set(pandas.read_csv(out / "estimate.csv"))
    found["rehearsal.csv"] = {field.name for field in dataclasses.fields(rehearse.Row)}
    found["figures/{experiment}/"] = set(figure_names(has_labels=True, searched=True))
    found["study.json"] = keys_of(read_json(study))
    found["datasets/{dataset}/rejected.csv"] = set(pandas.read_csv(results / "datasets/lines/rejected.csv"))
    found["datasets/{dataset}/profile.json"] = keys_of(read_json(results / "datasets/lines/profile.json"))
    found["datasets/{dataset}/{train,validation,test}.parquet"] = set(
        pandas.read_parquet(results / "datasets/lines/test.parquet")
    )
    lengths = read_json(results / "tokens/words/lengths.json")
    found["tokens/{experiment}/lengths.json"] = {"max_length", "digests", *lengths["train"]}
    found["baselines/{experiment}.json"] = keys_of(read_json(results / "baselines/words.json"))
    models_record = read_json(models / "tiny" / "provenance.json")
    found[".../provenance.json"] = set(models_record) | set(
        read_json(models.parent / "datasets" / "lines" / "provenance.json")
    )
    for file in (
        "run.json",
        "evaluation.json",
        "samples.json",
        "training.json",
        "history.csv",
        "validation.parquet",
        "predictions.parquet",
    ):
        place = "runs/{experiment}/{method}/seed-{seed}/" if file == "run.json" else ".../"
        found[place + file] = set()
        for path in results.glob(f"runs/words/*/seed-0/{file}"):
            read = {".json": lambda p: keys_of(read_json(p)), ".csv": pandas.read_csv, ".parquet": pandas.read_parquet}
            columns = read[path.suffix](path)
            found[place + file] |= {re.sub(r"few_shot_\d+_\d+", "few_shot_{examples}_{seed}", name) for name in columns}
    return found


def test_results_readme_names_every_key_that_is_written(written):
    rows = dict(re.findall(r"^\| `([^|`]+)`[^|]* \| (.*) \|$", RESULTS, re.MULTILINE))
    rows["rehearsal.csv"] = re.search(r"^\| `rehearsal.csv`.*", RESULTS, re.MULTILINE)[0]
    assert not set(written) - set(rows), "results/README.md lacks a line of its own for these files"
    for file, keys in written.items():
        named = {name for span in re.findall(r"`([^`]*)`", rows[file]) for name in re.split(r"[ ,()/]+", span)}
        assert not keys - named, f"results/README.md, {file}: add {', '.join(sorted(keys - named))}"


@pytest.mark.parametrize("file", ["study.json", ".../training.json", "tables/runs.csv", "tables/methods.csv"])
def test_results_readme_names_no_key_that_is_not_written(written, file):
    row = re.search(rf"^\| `{re.escape(file)}`[^|]* \| (.*) \|$", RESULTS, re.MULTILINE)[1]
    plain = re.sub(r"\([^)]*\)", "", row)
    named = {name for span in re.findall(r"`([^`]*)`", plain) for name in span.split(", ")}
    assert not named - written[file]


def test_the_command_line_introduces_itself(capsys):
    with pytest.raises(SystemExit):
        command_line.main(["--help"])
    told = " ".join(capsys.readouterr().out.split())
    assert "Run one stage of a study by itself." in told
    assert "`arguments`" not in told  # which is for developers


def test_a_reader_that_stops_is_no_error():
    command = f"{sys.executable} -m tunebook schema | head -n 1"
    done = subprocess.run(command, shell=True, cwd=ROOT / "workflow", capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("{\n", "")


COMMANDS = [
    command.split()
    for file in [*ROOT.glob("*.md"), *ROOT.glob("*/*.md"), *ROOT.glob("config/*.yaml"), ROOT / "Makefile"]
    for command in re.findall(r"snakemake [^`\n#]*--configfile [^`\n#]*", file.read_text(encoding="utf-8"))
]


def test_documented_commands_have_no_target_after_the_config_file():
    """Snakemake reads each word after --configfile as a config file."""
    assert len(COMMANDS) > 8
    for words in COMMANDS:
        after = words[words.index("--configfile") + 2 :]
        assert not after or after[0].startswith("-"), " ".join(words)
