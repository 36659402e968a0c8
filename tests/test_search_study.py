"""A search by the workflow: which jobs there are, what is trained, and what a larger search adds."""

from __future__ import annotations

import pytest

from tests import tiny
from tests.checkout import copy_workflow
from tests.test_dag import planned, snakemake, write
from tunebook.records import read_json

SEARCH = {"trials": 2, "training": {"learning_rate": {"low": 1e-4, "high": 1e-1, "scale": "log"}}}
FINAL = [f"results/tiny/runs/words/lora/seed-{seed}/training.json" for seed in (0, 1)]


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """A checkout whose search has ended, and whose runs have adopted its choice."""
    folder = tmp_path_factory.mktemp("search")
    copy_workflow(folder)
    config = tiny.study(folder / "sources", methods=["lora"], seeds=[0, 1], search=SEARCH)
    config["experiments"]["words"]["training"]["max_steps"] = 2
    write(folder, config)
    before = planned(folder)
    snakemake(folder, *FINAL, "--resources", "gpu=1")
    return {"folder": folder, "config": config, "before": before, "runs": folder / "results/tiny/runs/words/lora"}


def test_trials_train_with_the_first_seed_and_only_final_runs_are_scored(searched):
    before = searched["before"]
    assert len(before["trial"]) == 2
    assert all("seed=0" in job for job in before["trial"])
    assert len(before["adopt"]) == 2
    assert not any("trial=" in job for job in before["evaluate"] | before["sample"])
    assert "train" not in before


def test_the_chosen_trial_is_the_run_and_only_its_values_meet_the_other_seed(searched):
    search = read_json(searched["runs"] / "search.json")
    trained = sorted(
        file.parent.relative_to(searched["runs"]) for file in searched["runs"].glob("trial-*/*/training.json")
    )
    chosen = f"trial-{search['chosen']}"
    assert len(trained) == 3
    assert [str(path) for path in trained if path.name == "seed-1"] == [f"{chosen}/seed-1"]
    losses = {trial["trial"]: trial["best_validation_loss"] for trial in search["trials"]}
    assert losses[search["chosen"]] == min(losses.values())
    for seed in (0, 1):
        run, trial = (read_json(searched["runs"] / name / f"seed-{seed}/training.json") for name in ("", chosen))
        named = {"run": f"words/lora/seed-{seed}", "trial": trial["run"], "searched": search["values"]}
        identity = read_json(searched["runs"] / f"seed-{seed}/run.json")["identity"]
        assert run == {**trial, **named, "identity": identity}
        for file in (searched["runs"] / chosen / f"seed-{seed}/adapter").glob("*.safetensors"):
            assert (searched["runs"] / f"seed-{seed}/adapter" / file.name).read_bytes() == file.read_bytes()


def test_a_finished_search_plans_nothing(searched):
    assert "Nothing to be done" in snakemake(searched["folder"], *FINAL, "-n")


def test_a_larger_search_trains_what_is_new(searched):
    config = searched["config"]
    config["experiments"]["words"]["search"] = SEARCH | {"trials": 3}
    write(searched["folder"], config)
    plan = planned(searched["folder"])
    known = {folder.parent.name.removeprefix("trial-") for folder in searched["runs"].glob("trial-*/seed-0/adapter")}
    (new,) = plan["trial"]
    assert not any(f"trial={key}" in new for key in known)


def test_what_a_profile_says_of_training_holds_for_trials(searched):
    told = snakemake(searched["folder"], "-n", "--set-resources", "train:runtime=77")
    assert "runtime=77" in next(block for block in told.split("\n[") if "rule trial:" in block)
