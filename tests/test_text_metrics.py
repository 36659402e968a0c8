"""Metrics of answers: each against a case by hand and, for ROUGE-L, against the library's own tokens."""

from __future__ import annotations

import numpy
import pytest
from rouge_score.rouge_scorer import RougeScorer
from scipy.stats import binomtest

from tests.records import fake_study
from tunebook.errors import TunebookError
from tunebook.records import write_json
from tunebook.report import definitions
from tunebook.reporting import metrics, text_metrics
from tunebook.reporting.answers import exchanges
from tunebook.reporting.frames import build_tables
from tunebook.reporting.report_tables import metrics_table
from tunebook.reporting.study_folder import read_study
from tunebook.reporting.text_metrics import measure, repeated_share


def sample(completion="", *, reference=None, stopped=True, tokens=3):
    return {"completion": completion, "reference": reference, "stopped": stopped, "tokens": tokens}


def test_repetition_is_a_share_of_4_grams():
    assert repeated_share("a b c d") == 0
    assert repeated_share("a b c d a b c d") == pytest.approx(1 / 5)
    assert repeated_share("too short") == 0
    assert repeated_share("no " * 10) == pytest.approx(6 / 7)


def test_each_metric_by_hand():
    told = measure(
        [
            sample("the cat sat", reference="the cat lay down", tokens=3),
            sample("The dog. The dog.", reference=" the  DOG. the dog.", stopped=False, tokens=8),
            sample("a b c d a b c d", tokens=8),
        ],
        labels=False,
    )
    values = {name: metric.value for name, metric in told.items()}
    assert values == pytest.approx(
        {
            "stop_rate": 2 / 3,
            "answer_tokens": 19 / 3,
            "repetition": 0.2 / 3,
            "rouge_l": (4 / 7 + 1) / 2,  # 2 words of 3 and of 4 in common: F1 = 2 * 2 / (3 + 4)
            "exact_match": 1 / 2,
        }
    )
    assert {name: metric.rows for name, metric in told.items() if metric.rows != 3} == {"rouge_l": 2, "exact_match": 2}
    assert all(metric.interval is None for metric in told.values())


def test_rouge_l_is_the_librarys_and_knows_other_scripts():
    library = RougeScorer(["rougeL"])
    generator = numpy.random.default_rng(1)
    for _ in range(20):
        left, right = (" ".join(generator.choice(list("abcdefgh"), 12)) + "." for _ in range(2))
        ours = text_metrics.rouge_l(sample(left, reference=right))
        assert ours == pytest.approx(library.score(right, left)["rougeL"].fmeasure)
    assert text_metrics.rouge_l(sample("Привет, мир", reference="привет мир")) == 1


def test_diversity_does_not_reward_short_answers():
    generator = numpy.random.default_rng(1)
    words = [f"w{at}" for at in range(200)]
    long = [sample(" ".join(generator.choice(words, 60))) for _ in range(20)]
    short = [sample(" ".join(answer["completion"].split()[:6])) for answer in long]
    told = [measure(answers, labels=False) for answers in (short, long)]
    assert told[0]["hdd_1"].value == pytest.approx(told[1]["hdd_1"].value, abs=0.03)
    same = measure([sample("so much time to find the water")] * 20, labels=False)
    assert same["hdd_1"].value < 0.2
    assert same["hdd_1"].interval is None


def test_ten_answers_have_intervals_and_nine_do_not():
    answers = [sample("word " * (1 + at % 3), stopped=at < 8, tokens=at, reference="word") for at in range(10)]
    told = measure(answers, labels=False)
    wilson = binomtest(8, 10).proportion_ci(0.95, method="wilson")
    assert told["stop_rate"].interval == pytest.approx((wilson.low, wilson.high))
    low, high = told["answer_tokens"].interval
    assert 2 < low < 4.5 < high < 7
    assert "hdd_1" not in told  # of fewer than 42 words
    assert measure(answers, labels=False) == told  # seeded
    assert all(metric.interval is None for metric in measure(answers[:9], labels=False).values())


def test_labels_leave_length_and_end_and_nothing_answered_nothing_at_all():
    assert set(measure([sample("positive", reference="positive")], labels=True)) == {"stop_rate", "answer_tokens"}
    assert measure([], labels=False) == {}
    assert "rouge_l" not in measure([sample("x")], labels=False)


def test_every_metric_is_defined_in_a_sentence():
    told = measure([sample("x " * 50, reference="x")], labels=False, term="(x)")
    assert {one.metric.name for one in text_metrics.ANSWERS} == set(told)
    assert all(one.metric.definition.endswith(".") for one in text_metrics.ANSWERS)


def test_scored_rows_count_and_are_not_shown(tmp_path):
    experiment = read_study(fake_study(tmp_path, experiments=2)).experiments[1]
    for run in (experiment.base, *experiment.runs):
        more = [run.samples()[1] | {"prompt": f"More {at}", "source": "scored"} for at in range(10)]
        write_json(run.folder / "samples.json", run.samples() + more)
    experiment = read_study(tmp_path / "fake").experiments[1]
    assert experiment.base.rows_of("rouge_l") == 11
    pairs, left_out = exchanges(experiment, experiment.runs[0])
    assert (len(pairs), left_out) == (2, 0)


def test_the_report_says_where_there_is_no_interval(tmp_path):
    table = metrics_table(read_study(fake_study(tmp_path, experiments=2)).experiments[1])
    notes = {row[0].text: row[1].note for row in table.rows}
    assert notes["stop rate"] == "n = 2, no interval"
    assert notes["loss of the text"] == "2.90 to 3.10"


DIAGNOSIS = r"(?:suggest|diagnosis is) (?:an? )?(.+?)[,.]"


def test_an_answer_is_right_where_it_names_the_key_term_of_its_reference():
    asked = [
        sample("It is probably  ACUTE\ngout.", reference="The findings suggest acute gout, so rest."),
        sample("A stroke, or acute gout.", reference="The diagnosis is a migraine. Rest."),
        sample("acute gout", reference="No term stands here."),
    ]
    told = measure(asked, labels=False, term=DIAGNOSIS)
    assert (told["key_term"].value, told["key_term"].rows) == (0.5, 2)
    assert told["rouge_l"].rows == 3
    assert "key_term" not in measure(asked, labels=False)


def test_a_key_term_that_no_reference_has_is_an_error_with_an_example():
    with pytest.raises(TunebookError, match=r"finds nothing in any of 1 references, such as 'No term stands here.'"):
        measure([sample("x", reference="No term stands here.")], labels=False, term=DIAGNOSIS)


def test_a_pattern_that_does_not_end_is_stopped():
    with pytest.raises(TunebookError, match="takes longer than"):
        measure([sample("x", reference="a" * 60 + "!")], labels=False, term=r"((?:a|aa|a?a)+)$")


def test_a_metric_is_one_function(tmp_path, monkeypatch):
    """Decorated, it is computed, titled, defined and shown: nothing else names it."""
    monkeypatch.setattr(text_metrics, "ANSWERS", answers := [*text_metrics.ANSWERS])
    monkeypatch.setattr(metrics, "ANSWERS", answers)

    @text_metrics.answer_metric(-1, of="answers without labels", share=True, title="answers that ask back")
    def asks_back(sample):
        """Share of answers that end with a question mark."""
        return float(sample["completion"].endswith("?"))

    study = read_study(fake_study(tmp_path))
    experiment = next(each for each in study.experiments if not each.has_labels)
    run = experiment.runs[0]
    assert run.metrics["asks_back"] == 0.0
    assert run.rows_of("asks_back") == len(run.samples())
    (row,) = [row for row in metrics_table(experiment).rows if row[0].text == "answers that ask back"]
    assert row[0].note == "lower is better"
    assert ("answers that ask back", "Share of answers that end with a question mark.") in definitions(study)
    assert "asks_back" in set(build_tables(study)["metrics"]["metric"])
