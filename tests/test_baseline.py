"""Baselines for labels: trained on the training rows, scored on the test rows, compared row by row."""

import numpy
import pandas
import pytest
from scipy.stats import binomtest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from tests import tiny
from tests.records import fake_study
from tests.stages import prepared, run_stage
from tunebook.baseline import REGULARIZATION, baselines, retrieval
from tunebook.records import read_json
from tunebook.reporting.contests import label_contests
from tunebook.reporting.frames import build_tables
from tunebook.reporting.report_tables import metrics_table
from tunebook.reporting.study_folder import read_study


def rows(texts, labels, **more):
    frame = pandas.DataFrame({"row": [f"r{at}" for at in range(len(texts))], "prompt": texts, "label": labels})
    return frame.assign(text=None, messages=None, **more)


TRAIN = rows(["up up", "up so", "up :)", "down so", "down :("], ["good"] * 3 + ["bad"] * 2)
VALIDATION = rows(["up", "down"], ["good", "bad"])
TEST = rows(["up", "down", "down !", "down down"], ["good", "bad", "bad", "good"])


def test_baselines_by_hand():
    found, predictions = baselines(TRAIN, VALIDATION, TEST, ["good", "bad"])
    assert predictions["majority"].tolist() == ["good"] * 4
    assert found["majority"]["metrics"] == pytest.approx(
        {"accuracy": 0.5, "macro_f1": (2 / 3 + 0) / 2, "invalid_answer_rate": 0}
    )
    assert predictions["TF-IDF"].tolist() == ["good", "bad", "bad", "bad"]
    assert found["TF-IDF"]["metrics"]["accuracy"] == 0.75
    assert found["TF-IDF"]["confusion"] == [[1, 1, 0], [0, 2, 0]]
    assert baselines(TRAIN, VALIDATION, TEST, ["good", "bad"])[1].equals(predictions)  # nothing is drawn


def test_tf_idf_is_scikit_learns():
    words = TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"\w+|[^\w\s]", sublinear_tf=True)
    found, predictions = baselines(TRAIN, VALIDATION, TEST, ["good", "bad"])
    model = LogisticRegression(C=found["TF-IDF"]["regularization"], max_iter=1000)
    model.fit(words.fit_transform(TRAIN["prompt"]), TRAIN["label"])
    assert list(model.predict(words.transform(TEST["prompt"]))) == predictions["TF-IDF"].tolist()


def test_its_regularization_is_chosen_on_the_validation_rows():
    train = rows(["up", "up", "up", "down"], ["good", "good", "good", "bad"])
    strong, _ = baselines(train, rows(["up"], ["good"]), TEST, ["good", "bad"])
    weak, predictions = baselines(train, rows(["up", "down"], ["good", "bad"]), TEST, ["good", "bad"])
    assert strong["TF-IDF"]["regularization"] == min(REGULARIZATION)  # both are right: the stronger one is taken
    assert weak["TF-IDF"]["regularization"] > min(REGULARIZATION)  # too strong, it knows the frequent label only
    assert predictions["TF-IDF"].tolist()[:2] == ["good", "bad"]


def test_rows_without_a_word_are_no_error():
    found, _ = baselines(
        rows(["🙂", "🙁"], ["good", "bad"]), rows(["🙂"], ["good"]), rows(["🙂"], ["good"]), ["good", "bad"]
    )
    assert found["TF-IDF"]["metrics"]["accuracy"] == 1


def test_the_stage_scores_the_rows_of_the_test_split(tmp_path):
    places = prepared(tiny.study(tmp_path), tmp_path)
    run_stage("baseline", "--study", places["study"], "--experiment", "words", "--dataset", places["dataset"],
              "--output", tmp_path / "baselines")  # fmt: skip
    record = read_json(tmp_path / "baselines" / "words.json")
    assert record["rows"] == 12
    assert record["baselines"]["majority"]["metrics"]["accuracy"] == pytest.approx(1 / 3)
    assert record["baselines"]["TF-IDF"]["metrics"]["accuracy"] == 1  # a word gives the label away
    predictions = pandas.read_parquet(tmp_path / "baselines" / "words.parquet")
    assert predictions["row"].tolist() == pandas.read_parquet(places["dataset"] / "test.parquet")["row"].tolist()


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return read_study(fake_study(tmp_path_factory.mktemp("study"), experiments=1, methods=2, rows=40))


def test_baselines_stand_between_base_and_the_methods(study):
    table = metrics_table(study.experiments[0])
    assert [column.label for column in table.columns] == ["Metric", "base", "majority", "TF-IDF", "int8-lora", "full"]
    loss, accuracy = (
        next(row for row in table.rows if row[0].text == name) for name in ("loss of the text", "accuracy")
    )
    assert loss[3].text == "–"
    assert (accuracy[3].text, accuracy[3].note) == ("0.800", "0.700 to 0.900")
    lines = build_tables(study)["metrics"].set_index(["method", "metric"])
    assert lines.loc[("TF-IDF", "accuracy"), "rows"] == 40


def test_each_method_meets_base_tf_idf_and_the_other_methods(study):
    experiment = study.experiments[0]
    found = {(contest.left, contest.right): contest for contest in label_contests(experiment)}
    assert set(found) == {
        (left, right) for left in ("int8-lora", "full") for right in ("base", "TF-IDF")
    } | {("int8-lora", "full")}  # fmt: skip
    contest = found["full", "TF-IDF"]
    left = experiment.methods["full"][0].scores["correct"].to_numpy(dtype=bool)
    right = numpy.arange(40) % 5 != 0
    assert contest.only_left == numpy.sum(left & ~right)
    assert contest.only_right == numpy.sum(~left & right)
    alone = binomtest(contest.only_left, contest.only_left + contest.only_right).pvalue
    assert alone <= contest.p <= 5 * alone  # adjusted for five pairs
    assert contest.words == ("full is right more often" if contest.p < 0.05 else "no difference shown")
    assert found["int8-lora", "full"].words == "no difference shown"
    assert found["full", "base"].words == "full is right more often"


def test_without_labels_there_is_nothing_to_contest(tmp_path):
    study = read_study(fake_study(tmp_path, experiments=2))
    assert label_contests(study.experiments[1]) == []
    assert {one.method for one in study.experiments[1].baselines} == {"base, 2 examples", "retrieval"}
    lines = build_tables(study)["comparisons"]
    assert set(lines.loc[lines["test"] == "answers", "experiment"]) == {"experiment-0"}
    assert set(lines.loc[lines["test"] == "loss", "experiment"]) == {"experiment-0", "experiment-1"}


def asked(pairs, prefix):
    lines = [{"row": f"{prefix}{at}", "prompt": q, "completion": a} for at, (q, a) in enumerate(pairs)]
    return pandas.DataFrame(lines).assign(text=None, messages=None, label=None)


def test_retrieval_gives_the_answer_of_the_nearest_question():
    train = asked([("where is my parcel", "on its way"), ("how do I pay", "by card"), ("how do I pay", "in cash")], "t")
    found = retrieval(
        train, asked([("my parcel, where?", "soon"), ("can I pay", "yes"), ("zzz", "none")], "r"), "assistant"
    )
    assert found["retrieval"].tolist() == ["on its way", "by card", "on its way"]  # of equals, the first
    assert found["nearest"].tolist() == ["t0", "t1", "t0"]
    assert found["reference"].tolist() == ["soon", "yes", "none"]
    assert 0 < found["similarity"][0] < 1
    assert found["similarity"][2] == 0
    assert retrieval(train, train, "assistant")["similarity"].tolist() == pytest.approx([1, 1, 1])


def test_retrieval_reads_conversations():
    def talk(question, answer):
        return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]

    rows = pandas.DataFrame(
        {"row": ["a", "b"], "messages": [talk("one two", "first"), talk("three four", "second")]}
    ).assign(text=None, prompt=None, completion=None, label=None)
    assert retrieval(rows, rows[1:], "last")["retrieval"].tolist() == ["second"]


def test_the_stage_retrieves_where_rows_have_prompts_but_no_labels(tmp_path):
    config = tiny.study(tmp_path)
    del config["datasets"]["lines"]["label"], config["datasets"]["lines"]["labels"]
    places = prepared(config, tmp_path)
    run_stage("baseline", "--study", places["study"], "--experiment", "words", "--dataset", places["dataset"],
              "--output", tmp_path / "baselines")  # fmt: skip
    record = read_json(tmp_path / "baselines" / "words.json")
    assert record["rows"] == 12
    assert record["baselines"]["retrieval"]["definition"].startswith("Gives the answer of the training row")
    frame = pandas.read_parquet(tmp_path / "baselines" / "words.parquet")
    assert frame["row"].tolist() == pandas.read_parquet(places["dataset"] / "test.parquet")["row"].tolist()
    train = set(pandas.read_parquet(places["dataset"] / "train.parquet")["row"])
    assert set(frame["nearest"]) <= train


def test_retrieval_is_measured_on_the_rows_that_the_runs_answer(tmp_path):
    experiment = read_study(fake_study(tmp_path, experiments=2)).experiments[1]
    found = next(one for one in experiment.baselines if one.method == "retrieval")
    assert found.metrics == {"rouge_l": pytest.approx(2 * 1 / 2 * 1 / 3 / (1 / 2 + 1 / 3)), "exact_match": 0.0}
    assert found.rows_of("rouge_l") == experiment.base.rows_of("rouge_l") == 1
    columns = [column.label for column in metrics_table(experiment).columns]
    assert columns == ["Metric", "base", "base, 2 examples", "retrieval", "int8-lora", "full"][: len(columns)]
