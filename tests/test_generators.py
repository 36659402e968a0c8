"""The generated data: repeatable, balanced, grammatical, and neither trivial nor full of near-copies."""

import re
import subprocess
import sys
from pathlib import Path
from random import Random

import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from tunebook.data.generators import GENERATORS
from tunebook.data.generators.clinical import ASSESSMENT_WORDS, CASE_WORDS, CONDITIONS
from tunebook.data.generators.clinical_condition import alternatives
from tunebook.data.generators.financial import LABEL_SHARES, WORD_RANGE
from tunebook.data.generators.financial_scene import draw_change, draw_scene
from tunebook.data.generators.financial_tables import BAD, GOOD
from tunebook.data.generators.phrasing import article, expand, listed, tidy

WORKFLOW = Path(__file__).parents[1] / "workflow"


@pytest.fixture(scope="module")
def financial():
    return GENERATORS["financial-statements"](rows=1500, seed=42)


@pytest.fixture(scope="module")
def clinical():
    return GENERATORS["clinical-vignettes"](rows=600, seed=42)


def texts_of(row):
    """The texts of a row, its label left out."""
    return [value for key, value in row.items() if key != "label"]


def nearest_similarity(train: list[str], heldout: list[str]) -> np.ndarray:
    """Jaccard similarity of each held-out text with its nearest training text, as sets of 5-character strings."""
    vectorizer = CountVectorizer(analyzer="char", ngram_range=(5, 5), binary=True, lowercase=False)
    trained = vectorizer.fit_transform([*train, *heldout]).astype(np.int32)
    trained, held = trained[: len(train)], trained[len(train) :]
    shared = (held @ trained.T).toarray()  # (held-out, train)
    sizes = np.asarray(held.sum(axis=1)) + np.asarray(trained.sum(axis=1)).T
    return (shared / (sizes - shared)).max(axis=1)


@pytest.mark.parametrize("name", GENERATORS)
def test_seed_decides_the_rows(name):
    assert GENERATORS[name](rows=60, seed=3) == GENERATORS[name](rows=60, seed=3)
    assert GENERATORS[name](rows=60, seed=3) != GENERATORS[name](rows=60, seed=4)


@pytest.mark.parametrize("name", GENERATORS)
def test_rows_are_the_same_in_a_process_with_other_hashes(name):
    code = (
        f"from tunebook.data.generators import GENERATORS; print(GENERATORS[{name!r}](rows=40, seed=5), end='')\n"
        "import sys; assert 'numpy' not in sys.modules"
    )
    environment = {"PYTHONPATH": str(WORKFLOW), "PYTHONHASHSEED": "7"}
    printed = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    ).stdout
    assert printed == str(GENERATORS[name](rows=40, seed=5))


@pytest.mark.parametrize(("name", "rows"), [("financial-statements", 5000), ("clinical-vignettes", 2000)])
def test_many_rows_are_distinct(name, rows):
    made = GENERATORS[name](rows=rows, seed=0)
    assert len(made) == rows
    assert len({texts_of(row)[0] for row in made}) == rows


@pytest.mark.parametrize("name", GENERATORS)
def test_too_few_rows_are_refused(name):
    with pytest.raises(ValueError, match="rows is 0"):
        GENERATORS[name](rows=0, seed=0)


def test_labels_are_balanced_and_shuffled(financial):
    labels = [row["label"] for row in financial]
    for label, share in LABEL_SHARES.items():
        assert labels.count(label) / len(labels) == pytest.approx(share, abs=0.01)
        assert labels[:300].count(label) / 300 == pytest.approx(share, abs=0.1)


def test_every_condition_appears(clinical):
    assert len(CONDITIONS) >= 40
    for condition in CONDITIONS:
        assert sum(condition.name in row["assessment"] for row in clinical) >= 10


def test_ankle_sprain_has_its_first_aid(clinical):
    sprains = [row for row in clinical if "a lateral ankle sprain" in row["assessment"]]
    assert sprains
    assert all("rest, ice, compression, and elevation" in row["assessment"] for row in sprains)
    assert all("basketball" in row["case"] or "court" in row["case"] for row in sprains)


@pytest.mark.parametrize("condition", CONDITIONS, ids=lambda condition: condition.name)
def test_conditions_offer_alternatives(condition):
    assert len(alternatives(condition.complaints)) == len(alternatives(condition.spans)) == 3
    assert all("{t}" in complaint for complaint in alternatives(condition.complaints))
    assert len(alternatives(condition.histories)) >= 3
    assert len(set(alternatives(condition.findings))) == len(set(alternatives(condition.steps))) == 5


def test_lengths_are_within_their_ranges(financial, clinical):
    for row in financial:
        assert WORD_RANGE[0] <= len(row["sentence"].split()) <= WORD_RANGE[1]
    for row in clinical:
        assert CASE_WORDS[0] <= len(row["case"].split()) <= CASE_WORDS[1]
        assert ASSESSMENT_WORDS[0] <= len(row["assessment"].split()) <= ASSESSMENT_WORDS[1]


@pytest.mark.parametrize("words", ["profit", "sales", "rose", "fell", "contract", "growth", "loss", "%", "EUR|euros"])
def test_every_label_shares_the_keywords(financial, words):
    for label in LABEL_SHARES:
        assert any(re.search(words, row["sentence"]) for row in financial if row["label"] == label)


def test_no_single_word_tells_a_label_apart(financial):
    """Best balanced accuracy of "this word is (not) there"; measured 0.61 for neutral, 0.57 for the others."""
    vectorizer = CountVectorizer(binary=True, token_pattern=r"\S+")
    present = vectorizer.fit_transform([row["sentence"] for row in financial]).toarray()
    labels = np.array([row["label"] for row in financial])
    for label, bound in {"neutral": 0.65, "negative": 0.62, "positive": 0.62}.items():
        inside, outside = present[labels == label].mean(axis=0), present[labels != label].mean(axis=0)
        best = (0.5 + abs(inside - outside) / 2).max()
        assert best < bound, (label, best)


def test_words_alone_do_not_solve_the_labels(financial):
    """TF-IDF with logistic regression: above the 0.45 of always saying neutral, far from solving the task."""
    sentences, labels = [row["sentence"] for row in financial], [row["label"] for row in financial]
    vectorizer = TfidfVectorizer()
    model = LogisticRegression(C=10, max_iter=2000).fit(vectorizer.fit_transform(sentences[:1200]), labels[:1200])
    accuracy = model.score(vectorizer.transform(sentences[1200:]), labels[1200:])
    assert 0.70 < accuracy < 0.90


def test_heldout_rows_are_not_near_copies(financial, clinical):
    """Measured shares 0; medians near 0.25 for statements, 0.38 for cases, 0.43 for case and assessment."""
    for texts in (
        [row["sentence"] for row in financial],
        [row["case"] for row in clinical],
        [f"{row['case']} {row['assessment']}" for row in clinical],
    ):
        similarity = nearest_similarity(texts[: len(texts) * 4 // 5], texts[len(texts) * 4 // 5 :])
        assert (similarity >= 0.8).mean() < 0.03
        assert np.median(similarity) < 0.55


def test_text_is_clean(financial, clinical):
    for text in (text for row in [*financial, *clinical] for text in texts_of(row)):
        assert text.isascii()
        assert not re.search(r"  |[{}|]|\(n\)|\s[.,;?]|\.\.|,,|\ba a\b|\bthe the\b|s's\b", text), text
        assert text == text.strip()
        assert text[0].isupper()
        assert text[-1] in ".?"
        assert all(start.isupper() or start.isdigit() for start in re.findall(r"[a-z%]\. (\S)", text)), text


def test_articles_are_right(financial, clinical):
    spoken_vowel = re.compile(r"[aeioAEIO]|u(?!ni|se|su|ra|re)|8|1[18]\b(?![\d])|MRI|X-ray|HbA1c|SSRI|hour")
    spoken_consonant = re.compile(r"one\b|eu|EUR|USD")
    for text in (text for row in [*financial, *clinical] for text in texts_of(row)):
        for used, word in re.findall(r"\b([Aa]n?) ([\w.-]+)", text):
            vowel = bool(spoken_vowel.match(word)) and not spoken_consonant.match(word)
            assert (used.lower() == "an") == vowel, f"{used} {word}: {text}"


RISES = "rose|rise|increased?|grew|grow|climbed|climb|went up|go up|jumped|jump|widened|widen"
FALLS = "fell|fall|decreased?|declined?|dropped|drop|went down|go down|shrank|shrink|narrowed|narrow"
FIGURE = r"(?:[A-Z]{3} )?(\d[\d,]*(?:\.\d+)?)"


def number(text):
    return float(text.replace(",", ""))


def test_verbs_agree_with_the_figures():
    seen = 0
    for row in GENERATORS["financial-statements"](rows=3000, seed=1):
        text = row["sentence"]
        for verbs, sign in ((RISES, 1), (FALLS, -1)):
            to_from = re.findall(rf"\b(?:{verbs}) to {FIGURE}[^.]*?(?:\.\d[^.]*?)? (?:from|with) {FIGURE}", text)
            from_to = re.findall(rf"\b(?:{verbs}) from {FIGURE}[^.]*?(?:\.\d[^.]*?)? to {FIGURE}", text)
            pairs = to_from + [(after, before) for before, after in from_to]
            for after, before in pairs:
                assert (number(after) - number(before)) * sign > 0, text
            seen += len(pairs)
    assert seen > 100


@pytest.mark.parametrize("quantity", GOOD + BAD, ids=lambda quantity: quantity.phrase)
@pytest.mark.parametrize("rises", [True, False])
def test_percentages_agree_with_the_printed_figures(quantity, rises):
    rng = Random(quantity.phrase)
    for _ in range(40):
        change = draw_change(rng, draw_scene(rng), quantity, rises)
        before, after, percent = (
            number(re.search(FIGURE, text).group(1)) for text in (change.before, change.after, change.percent)
        )
        assert (after > before) == rises
        difference = abs(after - before)
        expected = difference if "point" in change.percent else difference / before * 100
        assert percent == pytest.approx(expected, abs=0.51 if "." not in change.percent else 0.06)


def test_pronouns_fit_the_sex(clinical):
    for row in clinical:
        male = re.search(r"-year-old (?:man|boy)", row["case"])
        assert not re.search(r"\b(?:she|her)\b" if male else r"\b(?:he|his|him)\b", row["case"].lower()), row["case"]


def test_children_are_not_called_adults(clinical):
    for row in clinical:
        age, person = re.search(r"(\d+)-year-old (\w+)", row["case"]).groups()
        assert (int(age) < 18) == (person in ("boy", "girl"))


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("rise", "a"),
        ("increase", "an"),
        ("8.2", "an"),
        ("18", "an"),
        ("180", "a"),
        ("EUR", "a"),
        ("X-ray", "an"),
    ],
)
def test_article_follows_the_sound(word, expected):
    assert article(word) == expected


def test_expand_fills_nested_slots_and_names_the_unknown_one():
    assert expand(Random(0), "{a}!", {"a": ("{b} and {b}",)}, {"b": "x"}) == "x and x!"
    with pytest.raises(KeyError, match="missing"):
        expand(Random(0), "{missing}", {}, {})


def test_tidy_mends_articles_possessives_and_spaces():
    assert tidy("A(n) {x}  of a(n) unit's".replace("{x}", "82% share")) == "An 82% share of a unit's"
    assert tidy("Industries's plan") == "Industries' plan"


def test_lists_use_semicolons_where_an_item_has_a_comma():
    assert listed(["x", "y"]) == "x and y"
    assert listed(["x", "y", "z"]) == "x, y, and z"
    assert listed(["x, y", "z", "w"]) == "x, y; z; and w"
