"""The report's first words: which system gained most, which overfits, which method to choose and at what price."""

from __future__ import annotations

from typing import Any

from tunebook.reporting.comparison import mean, share_removed
from tunebook.reporting.contests import against_examples, prompted_base
from tunebook.reporting.diagnosis import OF_ANSWERS
from tunebook.reporting.study_folder import Experiment, Study


def summary(study: Study, parts: list[dict[str, Any]]) -> dict[str, Any]:
    """The three questions: which system gained most, which overfits, which method to choose and at what price."""
    gains = [
        {"part": part, "run": run["run"], "share": share_removed(part["experiment"].base, run["run"])}
        for part in parts
        for run in part["runs"]
        if run["outcome"][0] == "good"
    ]
    overfits = [
        {"part": part, "runs": found}
        for part in parts
        if (found := [run for run in part["runs"] if any(v.rule == "overfitting" for v in run["found"])])
    ]
    return {
        **_gained_most(gains),
        "overfits": overfits,
        "choices": [choice_part(part) for part in parts if part["choice"]],
        "runs": len(study.runs),
        "seconds": sum(run.training["wall_s"] for run in study.runs),
        "devices": list(dict.fromkeys(run.training["device"] for run in study.runs)),
        "synthetic": [part["experiment"].title for part in parts if part["synthetic"]],
        "cautions": [(part["experiment"].title, part["caution"]) for part in parts if part["caution"]],
    }


def _gained_most(gains: list[dict[str, Any]]) -> dict[str, dict[str, Any] | None]:
    """The largest gain; where its base could not answer at all, the largest among the others as `gained_else`."""
    gained = max(gains, key=lambda gain: gain["share"], default=None)
    if gained is None or not gained["part"]["assembled"]:
        return {"gained": gained, "gained_else": None}
    able = [gain for gain in gains if not gain["part"]["assembled"]]
    return {"gained": gained, "gained_else": max(able, key=lambda gain: gain["share"], default=None)}


def choice_part(part: dict[str, Any]) -> dict[str, Any]:
    """The recommended method's price beside the best one's and the quickest one's."""
    methods, choice = part["experiment"].methods, part["choice"]
    warned = {name: _warnings(part, name) for name in choice.rivals}

    def price(name: str) -> dict[str, Any]:
        keys = ("peak_memory_bytes", "wall_s", "trainable_parameters")
        means = {key: mean(run.training[key] for run in methods[name]) for key in keys}
        return {"method": name, "loss": mean(run.text_loss for run in methods[name])} | means

    prices = {name: price(name) for name in methods}
    quickest = min(choice.rivals, key=lambda name: prices[name]["wall_s"])
    return {
        "title": part["experiment"].title,
        "name": part["experiment"].name,
        "chosen": prices[choice.method],
        "best": prices[choice.best],
        "quickest": prices[quickest],
        "rivals": [name for name in choice.rivals if name != choice.method],
        "warnings": warned[choice.method],
        "unwarned": [name for name, said in warned.items() if not said],
        "base_loss": part["experiment"].base.text_loss,
        "prompted": prompted_part(part["experiment"]),
        "against_examples": against_examples(part["experiment"], methods[choice.method]),
    }


def prompted_part(experiment: Experiment) -> dict[str, Any] | None:
    """Loss of the text of the base model with examples in its prompt: mean and range over draws; None where not run."""
    draws = prompted_base(experiment)
    if not draws:
        return None
    losses = [draw.evaluation["text_loss"] for draw in draws]
    told = {"mean": mean(losses), "low": min(losses), "high": max(losses)}
    return {"examples": draws[0].examples, "draws": len(draws)} | told


def _warnings(part: dict[str, Any], method: str) -> list[str]:
    """What the rules found in a method's answers, which its loss does not show."""
    seeds = len(part["experiment"].methods[method])
    return [
        verdict.phrase + (f" (seed {run['run'].seed})" if seeds > 1 else "")
        for run in part["runs"]
        for verdict in run["found"]
        if run["run"].method == method and verdict.rule in OF_ANSWERS
    ]
