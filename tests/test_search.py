"""A search: its draws, what is refused, what is chosen, what the report computes of it, and a study with one."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy
import pytest

from tests.configs import changed, valid_config
from tests.records import fake_study
from tunebook.configuration.config import Training
from tunebook.configuration.search import LOG_DOMAIN, Axis, Range, Search, Space, axes, rungs, trials
from tunebook.configuration.study import runs_of, trials_of
from tunebook.configuration.validation import ConfigError, validate
from tunebook.errors import TunebookError
from tunebook.records import read_json, write_json
from tunebook.reporting import search as found
from tunebook.reporting.search_tables import search_facts
from tunebook.reporting.study_folder import read_study
from tunebook.runs import read_run
from tunebook.select import Trials, rung_record, search_record

RATES = {"low": 1e-5, "high": 1e-3, "scale": "log"}


def searched(search: dict, **overrides) -> dict:
    """The valid config with a search in the experiment that compares full and lora."""
    config = changed("experiments.sentiment.search", search)
    config["experiments"]["sentiment"]["overrides"] = overrides
    return config


def drawn(search: dict, kind: str | None = "lora") -> list:
    told = Search.model_validate(search)
    return list(trials(told, axes(told, None, kind, Training)))


def values(search: dict, path: str = "training.learning_rate") -> list:
    section, name = path.split(".")
    return [getattr(trial, section)[name] for trial in drawn(search)]


# --- the draws -----------------------------------------------------------------------------------------------------------


def test_draws_lie_in_the_range_and_follow_its_scale():
    logs = numpy.log10(values({"trials": 400, "training": {"learning_rate": RATES}}))
    assert logs.min() >= -5
    assert logs.max() <= -3
    assert abs(logs.mean() + 4) < 3 * 2 / math.sqrt(12 * 400)  # the mean of a uniform, within three standard errors
    plain = numpy.array(values({"trials": 400, "training": {"learning_rate": {"low": 0.2, "high": 0.6}}}))
    assert plain.min() >= 0.2
    assert plain.max() <= 0.6
    assert abs(plain.mean() - 0.4) < 3 * 0.4 / math.sqrt(12 * 400)


def test_whole_numbers_stay_whole_and_lists_are_drawn_evenly():
    ranks = values(
        {"trials": 60, "training": {"learning_rate": RATES}, "adapter": {"r": {"low": 4, "high": 64}}}, "adapter.r"
    )
    assert all(type(rank) is int and 4 <= rank <= 64 for rank in ranks)
    listed = {"trials": 300, "training": {"learning_rate": RATES}, "adapter": {"r": [4, 8, 16]}}
    counts = [values(listed, "adapter.r").count(rank) for rank in (4, 8, 16)]
    assert min(counts) > 100 - 3 * math.sqrt(300 * 2 / 9)


def test_more_trials_keep_those_before():
    few, many = (values({"trials": count, "training": {"learning_rate": RATES}}) for count in (6, 10))
    assert many[:6] == few


def draws(values: Range | tuple, name: str = "learning_rate", count: int = 200) -> list:
    return [Axis("training", name, values, whole=False).drawn(0, number) for number in range(count)]


def test_a_wider_range_keeps_most_trials_that_fell_into_the_old_one():
    before, after = (draws(Range(low=1e-5, high=high, scale="log")) for high in (1e-3, 2e-3))
    wider = math.log10(2) / (2 + math.log10(2))  # the share of the new range that is new
    kept = sum(one == other for one, other in zip(before, after, strict=True)) / 200
    assert kept == pytest.approx(1 - wider, abs=3 * math.sqrt(wider * (1 - wider) / 200))
    assert all(new > 1e-3 for old, new in zip(before, after, strict=True) if old != new)


def test_a_new_value_in_a_list_takes_its_share_and_leaves_the_others_alone():
    before, after = draws((4, 8)), draws((4, 8, 16))
    assert {new for old, new in zip(before, after, strict=True) if old != new} == {16}


def test_another_seed_draws_others_and_no_trial_comes_twice():
    first, second = (values({"trials": 20, "seed": seed, "training": {"learning_rate": RATES}}) for seed in (0, 1))
    assert first != second
    keys = [
        trial.key
        for trial in drawn({"trials": 9, "training": {"weight_decay": [0, 0.1, 0.2]}, "adapter": {"r": [2, 4, 8]}})
    ]
    assert len(set(keys)) == 9


def test_methods_share_their_draws():
    told = {"trials": 5, "training": {"learning_rate": RATES}, "adapter": {"r": [8, 16]}}
    full, lora = drawn(told, kind=None), drawn(told)
    assert [one.training for one in full] == [one.training for one in lora]
    assert all(not one.adapter for one in full)


def test_a_grid_is_all_combinations_and_its_ends_are_the_range():
    told = {"sampler": "grid", "training": {"learning_rate": {**RATES, "points": 3}}, "adapter": {"r": [8, 16]}}
    pairs = [(trial.training["learning_rate"], trial.adapter["r"]) for trial in drawn(told)]
    assert pairs == list(itertools.product([1e-5, 1e-4, 1e-3], [8, 16]))


HALVING = {"sampler": "halving", "trials": 9, "training": {"learning_rate": RATES}}


@pytest.mark.parametrize(
    ("trials_of_it", "reduction", "expected"),
    [
        (9, 3, [(9, 1 / 9), (3, 1 / 3), (1, 1)]),
        (10, 2, [(10, 1 / 8), (5, 1 / 4), (2, 1 / 2), (1, 1)]),
        (4, 3, [(4, 1 / 3), (1, 1)]),
    ],
)
def test_rungs_of_successive_halving(trials_of_it, reduction, expected):
    told = Search.model_validate(HALVING | {"trials": trials_of_it, "reduction": reduction})
    assert [(rung.trials, rung.share) for rung in rungs(told, trials_of_it)] == [
        pytest.approx(each) for each in expected
    ]
    assert [(rung.trials, rung.share) for rung in rungs(Search(trials=5), 5)] == [(5, 1.0)]


def test_a_short_trial_has_its_share_of_steps_and_warmup_and_the_values_of_the_long_one():
    config = searched(HALVING)
    config["experiments"]["sentiment"]["training"] |= {"max_steps": 20, "warmup_steps": 6}
    study = validate(config)
    mine = [run for run in trials_of(study) if run.method == "full" and run.trial.draw == 4]
    first_seed = [run for run in mine if run.seed == 0]
    assert [run.spec["training"]["max_steps"] for run in first_seed] == [3, 7, 20]
    assert [run.spec["training"]["warmup_steps"] for run in first_seed] == [0, 2, 6]
    assert len({run.spec["training"]["learning_rate"] for run in mine}) == 1
    assert len({run.trial.key for run in mine}) == 3
    assert [run.trial.share for run in mine if run.seed == 1] == [1.0]  # only the longest meet other seeds

    config["experiments"]["sentiment"]["training"] |= {"max_steps": -1, "num_train_epochs": 3, "warmup_steps": 0.1}
    short = next(run for run in trials_of(validate(config)) if run.method == "full")
    assert short.spec["training"]["num_train_epochs"] == pytest.approx(1 / 3)
    assert short.spec["training"]["warmup_steps"] == 0.1  # a share already


def test_the_best_third_goes_on_and_a_diverged_trial_does_not(tmp_path):
    losses = [3.0, None, 2.0, 1.0, 4.0, 5.0, 6.0, 7.0, 8.0]
    file = written_trials(tmp_path, losses)
    record = read_json(file)
    record["experiments"]["words"]["search"] = HALVING
    later = [
        {**one, "trial": f"{number + 16:08x}", "run": f"words/full/trial-{number + 16:08x}/seed-3", "rung": 1}
        for number, one in enumerate(record["trials"][:9])
    ]
    write_json(file, record | {"trials": record["trials"] + later})
    trials_of_it = Trials(file, "words", "full")
    told = rung_record(trials_of_it, 0)
    assert len(told["tried"]) == 9
    assert told["promoted"] == [f"{draw + 16:08x}" for draw in (3, 2, 0)]
    write_json(tmp_path / "runs/words/full/rung-0.json", told)
    assert [one["draw"] for one in trials_of_it.of(1)] == [0, 2, 3]


def test_yaml_text_that_is_a_number_is_one():
    assert values({"sampler": "grid", "training": {"learning_rate": ["1e-5", 1e-4]}}) == [1e-5, 1e-4]


def test_a_narrow_range_is_refused_rather_than_searched_for_ever():
    axis = Axis("training", "learning_rate", Range(low=1.0001e-5, high=1.0002e-5, scale="log"), whole=False)
    with pytest.raises(TunebookError, match="too narrow to draw from"):
        axis.drawn(0, 0)
    assert LOG_DOMAIN[0] < -5 < LOG_DOMAIN[1]


def test_a_methods_own_range_goes_before_the_experiments():
    own = Space.model_validate({"training": {"learning_rate": [1e-6, 1e-5]}})
    told = Search.model_validate(
        {"sampler": "grid", "training": {"learning_rate": [1e-4, 1e-3], "weight_decay": [0, 0.1]}}
    )
    (rate, decay) = axes(told, own, None, Training)
    assert rate.values == (1e-6, 1e-5)
    assert decay.values == (0.0, 0.1)


# --- the study ------------------------------------------------------------------------------------------------------------


def test_final_runs_are_open_and_trials_are_whole():
    study = validate(searched({"trials": 3, "training": {"learning_rate": RATES}, "adapter": {"r": [8, 16]}}))
    finals = {run.method: run for run in runs_of(study) if run.experiment == "sentiment" and run.seed == 0}
    assert finals["full"].spec["searched"] == ["training.learning_rate"]
    assert finals["full"].spec["training"]["learning_rate"] is None
    assert finals["base"].spec["searched"] == []
    tried = [run for run in trials_of(study) if run.method == "full"]
    assert len(tried) == 3 * len(study.experiments["sentiment"].seeds)
    assert all(run.spec["training"]["learning_rate"] for run in tried)
    assert not any(run.spec["searched"] for run in tried)
    assert tried[0].name == f"sentiment/full/trial-{tried[0].trial.key}/seed-{tried[0].seed}"


def test_a_trial_is_the_run_that_has_its_values():
    """Its identity is that of the same run without a search: what determines the weights is the same."""
    study = validate(searched({"trials": 2, "training": {"learning_rate": RATES}}))
    trial = next(run for run in trials_of(study) if run.method == "full")
    config = valid_config()
    config["experiments"]["sentiment"]["overrides"] = {
        "full": {"training": {"learning_rate": trial.spec["training"]["learning_rate"]}}
    }
    same = next(run for run in runs_of(validate(config)) if run.name == f"sentiment/full/seed-{trial.seed}")
    assert trial.spec["identity"] == same.spec["identity"]


REFUSED = [
    ({"trials": 3, "training": {"max_steps": [1, 2]}}, "all trials train equally long"),
    ({"trials": 3, "training": {"learning_rat": [1, 2]}}, "did you mean learning_rate?"),
    ({"trials": 3, "training": {"learning_rate": [1e-4]}}, "at least two different values, or a range"),
    ({"trials": 3, "training": {"learning_rate": 1e-4}}, "expected a list of values, or a range"),
    ({"trials": 3, "training": {"learning_rate": {"low": 1e-3, "high": 1e-4}}}, "low is below high"),
    ({"trials": 3, "training": {"learning_rate": {"low": 0, "high": 1, "scale": "log"}}}, "found 0 on a log scale"),
    ({"trials": 3, "training": {"learning_rate": {"low": 0.5, "high": 4}}}, "should be less than or equal to 1"),
    ({"trials": 3, "training": {"learning_rate": {"lo": 1e-4, "high": 1}}}, "search.training.learning_rate.lo: unknown key"),
    ({"trials": 3, "adapter": {"r": [8, 16]}}, "found nothing to search for full"),
    ({"trials": 3, "training": {"learning_rate": RATES}, "adapter": {"rank": [8, 16]}}, "adapter.rank: found an argument"),
    ({"trials": 9, "training": {"weight_decay": [0, 0.1]}}, "found 9 trials, where the values give 2 different ones"),
    ({"training": {"learning_rate": RATES}}, "found nothing with sampler random"),
    ({"sampler": "grid", "trials": 3, "training": {"learning_rate": [1e-4, 1e-3]}}, "take trials away"),
    ({"sampler": "grid", "training": {"learning_rate": RATES}}, "found a range without points"),
    ({"sampler": "grid", "training": {"weight_decay": [0, 0.1]}, "adapter": {"r": [8, 16]}}, "2 of full, 4 of"),
    ({"sampler": "halving", "trials": 2, "training": {"learning_rate": RATES}}, "found 2, fewer than the reduction (3)"),
    ({"sampler": "bayes", "trials": 3, "training": {"learning_rate": RATES}}, "allowed: random, grid, halving"),
    ("all", "search: found 'all'; expected a mapping"),
    ({"trials": 40, "training": {"learning_rate": RATES}, "adapter": {"use_dora": [True, False], "init_lora_weights": [True, "pissa"]}}, "init_lora_weights pissa and use_dora"),
]  # fmt: skip


@pytest.mark.parametrize(("search", "said"), REFUSED, ids=[said for _, said in REFUSED])
def test_what_cannot_be_searched_is_refused(search, said):
    with pytest.raises(ConfigError) as refused:
        validate(searched(search))
    assert said in str(refused.value)
    assert "experiments.sentiment." in str(refused.value)


def test_an_override_does_not_fix_what_is_searched():
    with pytest.raises(ConfigError, match=r"full.training.learning_rate: found a value for what the search tries"):
        validate(
            searched({"trials": 3, "training": {"learning_rate": RATES}}, full={"training": {"learning_rate": 1e-4}})
        )


def test_a_range_of_a_method_needs_a_search():
    config = searched(None, full={"search": {"training": {"learning_rate": RATES}}})
    with pytest.raises(ConfigError, match=r"overrides\.full\.search: found without a search of the experiment"):
        validate(config)


# --- the choice -----------------------------------------------------------------------------------------------------------


def written_trials(folder: Path, losses: list[float | None]) -> Path:
    """A study's records of one searched method. Returns study.json."""
    listed = []
    for number, loss in enumerate(losses):
        name = f"words/full/trial-{number:08x}/seed-3"
        place = {"draw": number, "rung": 0, "share": 1.0}
        told = {"run": name, "experiment": "words", "method": "full", "seed": 3, "trial": f"{number:08x}"}
        listed.append(told | place)
        write_json(folder / "runs" / name / "run.json", {"training": {"learning_rate": 10.0**-number}, "adapter": None})
        told = dict.fromkeys(("steps", "epochs", "tokens", "wall_s", "peak_memory_bytes"), 1)
        told |= {"initial_validation_loss": 9.0, "best_validation_loss": loss, "best_step": loss and 1}
        write_json(folder / "runs" / name / "training.json", told | ({} if loss else {"diverged": "the loss is nan"}))
    listed.append(listed[0] | {"seed": 4})  # of another seed, which no search trains
    write_json(folder / "runs/words/full/seed-3/run.json", {"searched": ["training.learning_rate"]})
    experiment = {"seeds": [3, 4], "search": {"sampler": "random", "trials": len(losses), "seed": 0}}
    write_json(folder / "study.json", {"experiments": {"words": experiment}, "trials": listed})
    return folder / "study.json"


def test_the_lowest_validation_loss_is_chosen_and_a_diverged_trial_is_not(tmp_path):
    record = search_record(Trials(written_trials(tmp_path, [2.0, 1.5, None, 1.7]), "words", "full"))
    assert record["chosen"] == "00000001"
    assert record["values"] == {"training.learning_rate": 0.1}
    assert [trial["diverged"] is not None for trial in record["trials"]] == [False, False, True, False]


def test_a_search_without_a_whole_trial_says_so(tmp_path):
    with pytest.raises(TunebookError, match="each of its 2 trials diverged; nothing is chosen"):
        search_record(Trials(written_trials(tmp_path, [None, None]), "words", "full"))


def test_a_run_is_read_with_the_values_that_were_chosen(tmp_path):
    spec = {
        "searched": ["training.learning_rate"],
        "training": {"learning_rate": None, "max_steps": 3},
        "adapter": None,
    }
    write_json(tmp_path / "run.json", spec)
    with pytest.raises(TunebookError, match=r"training\.json: no such file"):
        read_run(tmp_path / "run.json")
    write_json(tmp_path / "training.json", {"searched": {"training.learning_rate": 0.1}})
    assert read_run(tmp_path / "run.json")["training"] == {"learning_rate": 0.1, "max_steps": 3}


# --- the report -----------------------------------------------------------------------------------------------------------


def of_losses(losses: list[float | None], sampler: str = "random") -> found.Search:
    tried = tuple(
        found.Trial(str(number), {"training.learning_rate": 10.0**-number}, 1.0, loss, 9.0, 1, 10, 100, 2.0)
        for number, loss in enumerate(losses)
    )
    return found.Search("full", sampler, tried, min((t for t in tried if t.loss), key=lambda trial: trial.loss))


def test_the_expected_loss_is_that_of_trials_drawn_again():
    losses = [3.0, 1.0, 2.5, 2.0, None]
    generator = numpy.random.default_rng(0)
    values_of = numpy.array([9.0 if loss is None else loss for loss in losses])  # diverged: the loss before training
    for budget, expected in enumerate(of_losses(losses).expected, start=1):
        lowest = generator.choice(values_of, size=(40_000, budget)).min(axis=1)
        assert expected == pytest.approx(lowest.mean(), abs=4 * lowest.std() / 200)
    assert of_losses(losses, sampler="grid").expected == []


def test_a_choice_at_the_edge_is_told():
    assert of_losses([3.0, 2.0, 1.0]).edges == {"training.learning_rate": "lowest"}
    assert of_losses([1.0, 2.0, 3.0]).edges == {"training.learning_rate": "highest"}
    assert of_losses([2.0, 1.0, 3.0]).edges == {}
    assert of_losses([None, 1.0, 3.0]).edges == {}  # what lies beyond was tried, and diverged
    assert of_losses([1.0, 2.0]).edges == {}  # two values have no middle


def test_the_report_answers_what_a_reviewer_asks(tmp_path):
    study = read_study(fake_study(tmp_path, experiments=2, methods=3, seeds=2, search=True))
    experiment = study.experiments[1]
    assert {run.spec["training"]["learning_rate"] for run in experiment.runs} == {1e-3}
    facts = search_facts(experiment)
    assert facts["searched"] == "learning_rate from 0.00001 to 0.01 (log scale)"
    assert (facts["trials"], facts["seeds"], facts["wall_s"]) == (4, 2, 120.0)
    assert facts["edges"] == []
    assert search_facts(study.experiments[0]) is None
