"""A study, resolved: every run with all that determines it, and the hash of exactly that.

A stage runs again when its identity changes, and an identity holds no more than the stage depends on: a new prompt
asks for new samples, not for a new training.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from tunebook.configuration.adapters import adapter_spec, arguments_for
from tunebook.configuration.config import RESERVED_METHOD, Experiment, Method, Study, Training
from tunebook.configuration.search import Axis, Trial, axes, trials
from tunebook.records import identity_of

DESCRIPTIVE = ("licence", "note", "caution", "rows")  # of a data set: they change nothing that is made of it
BASE_SEED = 0  # the untouched model has no seed; its folder is named as the others are


@dataclass(frozen=True)
class Run:
    """One experiment x one method x one seed, or a trial of its search. `spec` is what run.json holds."""

    experiment: str
    method: str
    seed: int
    spec: dict[str, Any]
    trial: Trial | None = None

    @property
    def name(self) -> str:
        trial = f"trial-{self.trial.key}/" if self.trial else ""
        return f"{self.experiment}/{self.method}/{trial}seed-{self.seed}"

    @property
    def trained(self) -> bool:
        return self.method != RESERVED_METHOD


def runs_of(study: Study) -> list[Run]:
    """All runs of a study, each experiment's base first, in the order of the config."""
    runs = []
    for name, experiment in study.experiments.items():
        runs.append(_run(study, name, experiment, RESERVED_METHOD, BASE_SEED))
        for method in experiment.methods:
            runs += [_run(study, name, experiment, method, seed) for seed in experiment.seeds]
    return runs


def trials_of(study: Study) -> list[Run]:
    """All runs that searches may ask for. A search trains its trials with the experiment's first seed, and the chosen one, which
    trains as long as a final run, with the others too."""
    return [
        _run(study, name, experiment, method, seed, trial)
        for name, experiment in study.experiments.items()
        if experiment.search
        for method in experiment.methods
        for trial in trials(experiment.search, searched(study, experiment, method))
        for seed in (experiment.seeds if trial.share == 1 else experiment.seeds[:1])
    ]


def searched(study: Study, experiment: Experiment, method: str) -> tuple[Axis, ...]:
    """The arguments of a method that its experiment searches; none where it searches nothing."""
    override = experiment.overrides.get(method)
    if experiment.search is None or method == RESERVED_METHOD:
        return ()
    return axes(experiment.search, override.search if override else None, study.methods[method].adapter, Training)


def _run(
    study: Study, name: str, experiment: Experiment, method_name: str, seed: int, trial: Trial | None = None
) -> Run:
    trained = method_name != RESERVED_METHOD
    method = study.methods[method_name] if trained else Method()
    open_axes = () if trial else searched(study, experiment, method_name)
    training = _training(experiment, method_name, trial) if trained else None
    adapter = _adapter(experiment, method_name, method, trial) if trained and method.adapter else None
    for axis in open_axes:
        (training if axis.section == "training" else adapter)[axis.name] = None
    spec = {
        "experiment": name,
        "method": method_name,
        "seed": seed,
        "task": study.models[experiment.model].task,
        "model": {"name": experiment.model, **dump(study.models[experiment.model])},
        "dataset": {"name": experiment.dataset, **dump(study.datasets[experiment.dataset])},
        "training": training,
        "adapter": adapter,
        "trains": (None if method.adapter else method.train) if trained else None,
        "quantization": method.quantization,
        "generation": dump(experiment.generation),
        "prompts": list(experiment.prompts),
        "few_shot": [] if trained else list(experiment.few_shot),
        "searched": [axis.path for axis in open_axes],
    }
    run = Run(name, method_name, seed, spec, trial)
    identified = {"run": run.name, "identity": identity_of(training_spec(run)), "trial": trial and trial.key, **spec}
    return replace(run, spec=identified)


def dump(section: Any) -> dict[str, Any]:
    """A section of the config as plain JSON values."""
    return section.model_dump(mode="json")


def _training(experiment: Experiment, method: str, trial: Trial | None) -> dict[str, Any]:
    """An experiment's training arguments with the overrides for a method and those of a trial, validated again."""
    changed = {**_override(experiment, method, "training"), **(trial.training if trial else {})}
    training = dump(Training.model_validate({**dump(experiment.training), **changed}))
    return training if trial is None or trial.share == 1 else _shortened(training, trial.share)


def _shortened(training: dict[str, Any], share: float) -> dict[str, Any]:
    """The arguments for a share of the steps, warmup included; the schedule ends with them."""
    length = (
        {"max_steps": math.ceil(share * training["max_steps"])}
        if training["max_steps"] > 0
        else {"num_train_epochs": share * training["num_train_epochs"]}
    )
    warmup = training["warmup_steps"]  # below 1 it is a share already
    return {**training, **length, "warmup_steps": math.floor(share * warmup) if warmup >= 1 else warmup}


def _adapter(experiment: Experiment, name: str, method: Method, trial: Trial | None) -> dict[str, Any]:
    """The kind of a method's adapter and its arguments: a trial's go before overrides, those before the method's own, and those
    before the experiment's."""
    shared = arguments_for(method.adapter, experiment.adapter)
    changed = {**_override(experiment, name, "adapter"), **(trial.adapter if trial else {})}
    return adapter_spec(method.adapter, {**shared, **method.arguments, **changed})


def _override(experiment: Experiment, method: str, section: str) -> dict[str, Any]:
    override = experiment.overrides.get(method)
    return getattr(override, section) if override else {}


# --- what each stage depends on ----------------------------------------------------------------------------------------


def fetching_specs(study: Study) -> dict[str, dict[str, dict[str, Any]]]:
    """Stage -> name -> what that stage is told: all of it, and nothing besides."""
    return {
        "fetch-model": {name: _model_spec(study, name) for name in study.models},
        "fetch-dataset": {name: _raw_spec(study, name) for name in study.datasets},
        "prepare": {name: _dataset_spec(study, name) for name in study.datasets},
        "tokenize": {name: _tokens_spec(study, name) for name in study.experiments},
    }


def _model_spec(study: Study, name: str) -> dict[str, Any]:
    model = dump(study.models[name])
    return {"name": name, **{key: model[key] for key in ("task", "source", "encoder_decoder", "licence")}}


def _raw_spec(study: Study, name: str) -> dict[str, Any]:
    dataset = dump(study.datasets[name])
    if dataset["format"]:
        del dataset["format"]["style"]  # files are read alike whatever their rows mean
    return {"name": name, **{key: dataset[key] for key in ("source", "format", "licence")}}


def _dataset_spec(study: Study, name: str) -> dict[str, Any]:
    dataset = dump(study.datasets[name])
    return {"name": name, **{key: value for key, value in dataset.items() if key not in ("format", *DESCRIPTIVE)}}


def _tokens_spec(study: Study, name: str) -> dict[str, Any]:
    experiment = study.experiments[name]
    model, dataset = study.models[experiment.model], study.datasets[experiment.dataset]
    return {
        "name": name,
        "task": model.task,
        "chat_template": model.chat_template,
        "system_prompt": model.system_prompt,
        "template_date": dump(model)["template_date"],
        "labels": list(dataset.label_names),
        "learn": dataset.learn,
        "long_texts": dataset.long_texts,
        "templates": [text for text in (dataset.prompt, dataset.completion, dataset.text) if text is not None],
        "tolerance": dataset.tolerance,
        "max_length": experiment.training.max_length,
        "max_target_length": experiment.training.max_target_length,
    }


def training_spec(run: Run) -> dict[str, Any]:
    """What determines a run's weights, beside rows, model files and code."""
    keys = ("experiment", "method", "seed", "task", "training", "adapter", "trains", "quantization")
    model = {
        key: run.spec["model"][key]
        for key in (
            "name",
            "source",
            "encoder_decoder",
            "dtype",
            "attn_implementation",
            "skip_modules",
            "chat_template",
        )
    }
    dataset = {k: v for k, v in run.spec["dataset"].items() if k not in DESCRIPTIVE}
    return {**{key: run.spec[key] for key in keys}, "model": model, "dataset": dataset}


def evaluation_spec(run: Run) -> dict[str, Any]:
    """What determines a run's evaluation, beside its weights and rows."""
    return {
        "identity": run.spec["identity"],
        "generation": {
            key: run.spec["generation"][key] for key in ("max_new_tokens", "batch_size", "memorisation_rows")
        },
        "few_shot": run.spec["few_shot"],
        "labels": run.spec["dataset"]["labels"],
    }


def sampling_spec(run: Run) -> dict[str, Any]:
    """What determines a run's samples, beside its weights and rows."""
    generation = {key: value for key, value in run.spec["generation"].items() if key != "memorisation_rows"}
    shared = {"identity": run.spec["identity"], "labels": run.spec["dataset"]["labels"]}
    return {**shared, "generation": generation, "prompts": run.spec["prompts"]}


def experiment_spec(study: Study, name: str) -> dict[str, Any]:
    """What determines an experiment's figures, beside its records."""
    experiment = study.experiments[name]
    model, dataset = study.models[experiment.model], study.datasets[experiment.dataset]
    return {"experiment": dump(experiment), "model": dump(model), "dataset": dump(dataset)}


def config_of(study: Study) -> dict[str, Any]:
    """The config as plain JSON values, keys at their default left out: it passes `check` and gives the same runs."""
    return study.model_dump(mode="json", exclude_defaults=True, round_trip=True)


def resolved(study: Study) -> dict[str, Any]:
    """What study.json holds."""
    experiments = {
        name: {**dump(experiment), "task": study.models[experiment.model].task}
        for name, experiment in study.experiments.items()
    }
    datasets = {name: {**dump(d), "synthetic": d.source.type == "generated"} for name, d in study.datasets.items()}
    return {
        **dump(study),
        "datasets": datasets,
        "experiments": experiments,
        "config": config_of(study),
        "specs": fetching_specs(study),
        "runs": [_listed(run) for run in runs_of(study)],
        "trials": [
            {
                **_listed(run),
                "trial": run.trial.key,
                **{key: getattr(run.trial, key) for key in ("draw", "rung", "share")},
            }
            for run in trials_of(study)
        ],
    }


def _listed(run: Run) -> dict[str, Any]:
    return {key: run.spec[key] for key in ("run", "experiment", "method", "seed", "identity")}
