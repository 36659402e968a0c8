"""Bad data: every refusal names file, row, reason and what was found; what can be read is read whole."""

import json
import random
import warnings

import pandas
import pyarrow.parquet
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tunebook.configuration.config import Dataset
from tunebook.configuration.study import dump
from tunebook.data import similarity
from tunebook.data.splitting import LEFT_OUT, SPLITS, split_rows
from tunebook.errors import TunebookError
from tunebook.fetch_dataset import fetch_dataset
from tunebook.prepare import main as prepare_stage
from tunebook.prepare import prepare

ROWS = 40
LABELS = ["negative", "neutral", "positive"]
WORDS = """
    amber basket copper dagger ember falcon garnet harbour island jasmine kettle lantern marble nectar orchid
    pepper quartz ribbon saddle temple umbrella velvet walnut yellow zephyr anchor bridge candle desert engine
    forest
"""


def sentence(number: int) -> str:
    """A text that is unlike that of any other number."""
    return " ".join(random.Random(number).sample(WORDS.split(), 8))


PAIRS = [(sentence(number), LABELS[number % 3]) for number in range(ROWS)]


def csv_of(pairs, delimiter=",", header=("sentence", "label"), end="\n") -> str:
    return "".join(delimiter.join(fields) + end for fields in [header, *pairs])


def with_row(line: int, content: str) -> str:
    """A csv file of 40 rows whose line `line` (the header is line 1) reads `content`."""
    lines = csv_of(PAIRS).split("\n")
    lines[line - 1] = content
    return "\n".join(lines)


def json_of(**changed) -> str:
    rows = [{"sentence": text, "label": label} for text, label in PAIRS]
    rows[4] |= changed
    return json.dumps(rows)


def jsonl_of(line: int, content: str) -> str:
    lines = [json.dumps({"sentence": text, "label": label}) for text, label in PAIRS]
    lines[line - 1] = content
    return "\n".join(lines)


def talks_of(talk) -> str:
    return json.dumps([[sentence(number), sentence(100 + number)] for number in range(ROWS)] + [talk])


CSV, TSV, JSON, JSONL, PARQUET = ({"type": kind} for kind in ("csv", "tsv", "json", "jsonl", "parquet"))
AT = {"type": "delimited", "delimiter": "@", "names": ["sentence", "label"]}
PYTHON = {"type": "python", "key": "ROWS", "names": ["sentence", "label"]}
LABELLED = {"prompt": "{{ sentence }}", "label": "label", "labels": LABELS}
ANSWERED = {"prompt": "{{ sentence }}", "completion": "{{ label }}"}
TALKS = {"messages": "turns"}
TALK_FORM = {"type": "json", "names": ["turns"]}
YAML_FORM = {"type": "yaml", "key": "rows", "names": ["sentence", "label"]}


def prepared(folder, content, form, **rest):
    """Fetch a file and prepare it. Returns the splits, the refusals and the profile."""
    file = folder / "bad.txt"
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return prepared_from(folder, str(file), form, **rest)


def prepared_from(folder, path, form, **rest):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        section = {"source": {"type": "path", "path": path}, "format": form, "licence": "MIT", **rest}
        spec = {"name": "bad", **dump(Dataset.model_validate(section))}
        fetch_dataset(spec, folder / "raw")
        return prepare(spec, pandas.read_parquet(folder / "raw" / "raw.parquet"))


# name, format, content of the file, data set, what the message must say
REFUSED = [
    # the file as a whole
    ("empty file", CSV, "", ANSWERED, "bad.txt, row 1: empty; expected a line with column names"),
    ("header only", CSV, "sentence,label\n", ANSWERED, "bad.txt: the file holds no row (found 15 bytes)"),
    ("empty jsonl", JSONL, "\n\n", ANSWERED, "bad.txt: the file holds no row (found 2 bytes)"),
    ("empty list", JSON, "[]", ANSWERED, "bad.txt: the file holds no row (found 2 bytes)"),
    ("gzip as text", CSV, b"\x1f\x8b\x08\x00abc", ANSWERED, "bad.txt: found a gzip file, not text: unpack it (gunzip)"),
    ("spreadsheet as csv", CSV, b"PK\x03\x04abc", ANSWERED, "bad.txt: found a zip archive or a spreadsheet"),
    ("Parquet as csv", CSV, b"PAR1abc", ANSWERED, "bad.txt: found a Parquet file, not text: declare format parquet"),
    ("csv as Parquet", PARQUET, csv_of(PAIRS), ANSWERED, "bad.txt: not a Parquet file ("),
    ("Parquet that ends early", PARQUET, b"PAR1" + b"\0" * 50, ANSWERED, "bad.txt: not a Parquet file ("),
    ("latin-1 as utf-8", CSV, csv_of([*PAIRS, ("café", "neutral")]).encode("latin-1"), ANSWERED,
     r"bad.txt, row 42: byte b'\xe9' is not utf-8; declare the file's encoding"),
    ("utf-16 as utf-8", CSV, csv_of(PAIRS).encode("utf-16"), ANSWERED,
     "begins with the byte order mark of utf-16, declared is utf-8"),
    ("utf-8 as latin-1", CSV | {"encoding": "latin-1"}, csv_of(PAIRS).encode("utf-8-sig"), ANSWERED,
     "begins with the byte order mark of utf-8, declared is latin-1"),
    ("utf-16 cut in half", CSV | {"encoding": "utf-16"}, csv_of(PAIRS).encode("utf-16")[:-1], ANSWERED,
     "is not utf-16"),
    ("header that stands twice", CSV, "label,label\na,b\n", ANSWERED,
     "bad.txt, row 1: a column name stands twice in ['label', 'label']"),
    ("wrong delimiter", CSV, csv_of(PAIRS, ";"), ANSWERED,
     "data set bad: no column label, sentence; the rows have: sentence;label; mend the templates, or map names under "
     "columns; is the delimiter right?"),
    ("tabs as csv", TSV, csv_of(PAIRS), ANSWERED, "the rows have: sentence,label"),
    ("no such column", CSV, csv_of(PAIRS), ANSWERED | {"completion": "{{ answer }}"},
     "no column answer; the rows have: sentence, label"),
    ("no such column to map", CSV, csv_of(PAIRS), ANSWERED | {"columns": {"x": "Sentence"}}, "no column Sentence"),
    ("quote that never closes", CSV, with_row(5, '"amber,neutral'), ANSWERED,
     "bad.txt, row 5: a quote opens here that is not closed up to row 41"),
    ("quote that closes too late", CSV, with_row(5, '"amber,neutral').replace(sentence(10), f'"{sentence(10)}"'),
     ANSWERED, "bad.txt, row 5: a quote opens here that is not closed up to row 12"),
    ("jsonl as json", JSON, jsonl_of(1, "{}"), ANSWERED,
     "bad.txt, row 2: not JSON: Extra data; one object a line is format jsonl"),
    ("json as jsonl", JSONL, json.dumps([{"sentence": "a"}], indent=1), ANSWERED,
     "no row could be read; first: bad.txt, row 1: not JSON"),
    ("json mapping", JSON, '{"rows": []}', ANSWERED,
     "bad.txt: found dict where a list of records is expected; set format.key"),
    ("json without the key", JSON | {"key": "data"}, '{"rows": []}', ANSWERED, "bad.txt: no key 'data'; found: rows"),
    ("json too deep", JSON, "[" * 100_000, ANSWERED, "bad.txt: not JSON that can be read"),
    ("yaml broken", YAML_FORM, "rows: [a\nb: }", ANSWERED, "bad.txt: not YAML: while parsing a flow sequence"),
    ("yaml tag", YAML_FORM, "rows: !!int ''", ANSWERED, "bad.txt: not YAML"),
    ("python without the variable", PYTHON, "COLUMNS = 1\nx, y = 2, 3\n", ANSWERED,
     "bad.txt: no variable 'ROWS'; found: COLUMNS, ?"),
    ("python with code", PYTHON, "import os\nROWS = os.listdir()\n", ANSWERED,
     "bad.txt, row 2: ROWS is not a literal (found os.listdir()); the file is read and never run"),
    ("python broken", PYTHON, "ROWS = [\n", ANSWERED, "bad.txt, row 1: not Python: '[' was never closed"),
    # one row
    ("one field too many", CSV, with_row(7, "a,b,c"), ANSWERED, "bad.txt, row 7: expected 2 fields (found 3 fields)"),
    ("one field too few", CSV, with_row(7, "abc"), ANSWERED, "bad.txt, row 7: expected 2 fields (found 1 fields)"),
    ("text after a quote", CSV, with_row(7, '"a"b,c'), ANSWERED,
     "bad.txt, row 7: not readable as delimited text (found ',' expected after"),
    ("NUL byte", CSV, with_row(7, "am\0ber,neutral"), ANSWERED,
     r"bad.txt, row 7: NUL byte in sentence (found 'am\x00ber')"),
    ("no delimiter in the line", AT, "a@neutral\nno delimiter\n", ANSWERED,
     "bad.txt, row 2: expected 2 fields parted by '@' (found 'no delimiter')"),
    ("line that is no JSON", JSONL, jsonl_of(3, '{"a": '), ANSWERED,
     'bad.txt, row 3: not JSON: Expecting value (found {"a": )'),
    ("line that is no object", JSONL, jsonl_of(3, "[1]"), ANSWERED,
     "bad.txt, row 3: expected a JSON object (found [1])"),
    ("line too deep", JSONL, jsonl_of(3, "[" * 100_000), ANSWERED, "bad.txt, row 3: not JSON"),
    ("half a character", JSONL, jsonl_of(3, r'{"sentence": "\ud83d", "label": "x"}'), ANSWERED,
     "bad.txt, row 3: a value cannot be kept as text"),
    ("list without names", JSON, '[["a", "b"]]', ANSWERED,
     "bad.txt, row 1: expected a mapping; fields are named in format.names (found ['a', 'b'])"),
    ("list of another length", JSON | {"names": ["a", "b"]}, '[["a", "b", "c"]]', ANSWERED,
     "bad.txt, row 1: expected 2 fields (found 3 fields)"),
    ("list within itself", YAML_FORM, "rows:\n- &a [*a, b]\n", ANSWERED,
     "bad.txt, row 1: a value cannot be kept as text (found Circular reference"),
    ("empty prompt", CSV, with_row(7, "  ,neutral"), ANSWERED, "bad.txt, row 7: empty sentence (found '  ')"),
    ("prompt empty once filled", CSV, with_row(7, "amber,neutral"),
     ANSWERED | {"prompt": "{{ sentence | replace('amber', '') }}"}, "bad.txt, row 7: empty prompt (found '')"),
    ("null completion", JSON, json_of(label=None), ANSWERED, "bad.txt, row 5: missing label (found None)"),
    ("missing completion", JSONL, jsonl_of(5, '{"sentence": "a"}'), ANSWERED,
     "bad.txt, row 5: missing label (found None)"),
    ("NaN label", JSON, json_of(label=float("nan")), LABELLED, "bad.txt, row 5: missing label (found nan)"),
    ("misspelt label", CSV, with_row(7, "amber,positve"), LABELLED,
     "row 7: unknown label; the labels are negative, neutral, positive (found 'positve'; did you mean positive?)"),
    ("label of another kind", JSON, json_of(label=3), LABELLED,
     "bad.txt, row 5: unknown label; the labels are negative, neutral, positive (found '3')"),
    ("template error", JSON, json_of(label="x"), ANSWERED | {"completion": "{{ label + 1 }}"},
     'bad.txt, row 1: the completion template failed: can only concatenate str (not "int") to str'),
    ("template that includes", CSV, csv_of(PAIRS), ANSWERED | {"prompt": "{{ sentence }}{% include 'x' %}"},
     "row 2: the prompt template failed: no loader"),
    ("template that reaches out", CSV, csv_of(PAIRS), ANSWERED | {"prompt": "{{ sentence.__class__.__mro__ }}"},
     "row 2: the prompt template failed: access to attribute '__class__'"),
    ("one turn", TALK_FORM, talks_of(["Hello?"]), TALKS,
     "bad.txt, row 41: a conversation needs two turns (found ['Hello?'])"),
    ("turns that are no list", TALK_FORM, json.dumps([{"turns": "Hello? Hi!"}]), TALKS,
     "bad.txt, row 1: turns is not a list of turns (found 'Hello? Hi!')"),
    ("empty turn", TALK_FORM, talks_of(["Hello?", " "]), TALKS, "bad.txt, row 41: empty turn 2 of turns (found ' ')"),
    ("null turn", TALK_FORM, talks_of(["Hello?", None]), TALKS,
     "bad.txt, row 41: missing turn 2 of turns (found None)"),
    ("turns with roles", TALK_FORM, talks_of([{"role": "user"}, "Hi"]), TALKS,
     "bad.txt, row 41: turn 1 of turns is not text (found {'role': 'user'})"),
    # all rows together
    ("all rows refused", CSV, csv_of([(text, "good") for text, _ in PAIRS]), LABELLED | {"tolerance": 0.9},
     "40 of 40 rows are refused, tolerance 0.9 allows 36"),
    ("more than is tolerated", CSV, with_row(7, "a").replace(sentence(20), " "), ANSWERED | {"tolerance": 0.04},
     "2 of 40 rows are refused, tolerance 0.04 allows 1; mend the rows, or declare a tolerance of at least 0.0500"),
    ("one row", CSV, csv_of(PAIRS[:1]), ANSWERED,
     "the split of 1 rows leaves 1 train, 0 validation, 0 test; give more rows"),
    ("copies of one row", CSV, csv_of(PAIRS[:1] * 50), ANSWERED, "the split of 1 rows leaves"),
    ("one class", CSV, csv_of([(text, "neutral") for text, _ in PAIRS]), LABELLED,
     "data set bad: no training row has the label negative or positive (found 32 neutral)"),
    ("one prompt", CSV, csv_of([("amber", text) for text, _ in PAIRS]), ANSWERED,
     "the split of 40 rows leaves 40 train, 0 validation, 0 test"),
    ("split that takes all", CSV, csv_of(PAIRS), ANSWERED | {"split": {"validation": 20, "test": 20}},
     "leaves 0 train, 20 validation, 20 test"),
    ("split larger than the data", CSV, csv_of(PAIRS), ANSWERED | {"split": {"validation": 500}},
     "leaves 0 train, 36 validation, 4 test"),
]  # fmt: skip


@pytest.mark.parametrize("case", REFUSED, ids=[case[0] for case in REFUSED])
def test_bad_data_is_refused_in_words(tmp_path, case):
    _, form, content, rest, message = case
    with pytest.raises(TunebookError) as error:
        prepared(tmp_path, content, form, **rest)
    assert message in str(error.value)


# name, format, content of the file, data set
FINE = [
    ("as it should be", CSV, csv_of(PAIRS), LABELLED),
    ("byte order mark", CSV, csv_of(PAIRS).encode("utf-8-sig"), LABELLED),
    ("line ends of Windows", CSV, csv_of(PAIRS, end="\r\n"), LABELLED),
    ("line ends of an old Mac", CSV, csv_of(PAIRS, end="\r"), LABELLED),
    ("utf-16", CSV | {"encoding": "utf-16"}, csv_of(PAIRS).encode("utf-16"), LABELLED),
    ("utf-16-le with a mark", CSV | {"encoding": "utf-16-le"}, csv_of(PAIRS).encode("utf-16"), LABELLED),
    ("blank lines", CSV, csv_of(PAIRS, end="\n\n"), LABELLED),
    ("spaces around names", CSV, csv_of(PAIRS, header=(" sentence", "label ")), LABELLED),
    ("semicolons", CSV | {"delimiter": ";"}, csv_of(PAIRS, ";"), LABELLED),
    ("tabs", TSV, csv_of(PAIRS, "\t"), LABELLED),
    ("labels with white space", CSV, csv_of([(text, f" {label}\t") for text, label in PAIRS]), LABELLED),
    ("delimiter within the text", AT, csv_of([(f"{text} @ 3.4", label) for text, label in PAIRS[1:]], "@", PAIRS[0]),
     LABELLED),
    ("json", JSON, json_of(), LABELLED),
    ("jsonl with blank lines", JSONL,
     jsonl_of(1, "").replace("\n", "\n\n") + "\n" + json.dumps({"sentence": sentence(0), "label": "negative"}),
     LABELLED),
    ("python", PYTHON, f"import os\nROWS: list = {PAIRS!r}\n", LABELLED),
    ("yaml", YAML_FORM, "rows:\n" + "".join(f"- [{text}, {label}]\n" for text, label in PAIRS), LABELLED),
]  # fmt: skip


@pytest.mark.parametrize("case", FINE, ids=[case[0] for case in FINE])
def test_what_only_looks_bad_is_read_whole(tmp_path, case):
    _, form, content, rest = case
    frames, refusals, profile = prepared(tmp_path, content, form, **rest)
    assert refusals == []
    rows = pandas.concat(frames.values())
    assert sorted(rows["label"]) == sorted(label for _, label in PAIRS)
    assert profile["raw_rows"] == profile["rows"] == len(rows) == ROWS


def test_a_cell_of_a_million_characters_is_fine(tmp_path):
    frames, _, profile = prepared(tmp_path, csv_of([*PAIRS, ("amber " * 170_000, "neutral")]), CSV, **ANSWERED)
    assert sum(map(len, frames.values())) == ROWS + 1
    assert profile["characters"]["max"] > 1_000_000


def test_a_cell_may_run_over_lines_and_rows_keep_their_line(tmp_path):
    content = with_row(3, '"amber\nbasket, ""copper""",neutral')
    frames, _, _ = prepared(tmp_path, content, CSV, **ANSWERED)
    rows = pandas.concat(frames.values()).set_index("row")
    assert rows.loc["bad.txt:3", "prompt"] == 'amber\nbasket, "copper"'
    assert rows.loc["bad.txt:5", "prompt"] == PAIRS[2][0]


def test_tolerated_rows_are_listed_and_the_others_taken(tmp_path):
    content = with_row(7, "a").replace(sentence(20), " ")
    frames, refusals, profile = prepared(tmp_path, content, CSV, **ANSWERED, tolerance=0.05)
    assert [str(refusal) for refusal in refusals] == [
        "bad.txt, row 7: expected 2 fields (found 1 fields)",
        "bad.txt, row 22: empty sentence (found ' ')",
    ]
    assert profile["rejected"] == {"expected 2 fields": 1, "empty sentence": 1}
    assert sum(map(len, frames.values())) == profile["rows"] == ROWS - 2


def test_only_the_first_refusals_are_listed(tmp_path):
    with pytest.raises(TunebookError, match="and 35 more"):
        prepared(tmp_path, csv_of([(" ", label) for _, label in PAIRS]), CSV, **ANSWERED)


def test_labels_that_are_numbers_are_labels(tmp_path):
    rows = json.dumps([{"sentence": sentence(number), "label": number % 2} for number in range(ROWS)])
    frames, _, _ = prepared(tmp_path, rows, JSON, prompt="{{ sentence }}", label="label", labels=["0", "1"])
    assert set(frames["train"]["completion"]) == {"0", "1"}


def test_words_of_yaml_stay_words(tmp_path):
    talks = "".join(f"- [{text}, No, 007, 12:30]\n" for text, _ in PAIRS)
    frames, _, _ = prepared(tmp_path, f"rows:\n{talks}", YAML_FORM | {"names": ["turns"]}, **TALKS)
    assert list(frames["test"]["messages"].iloc[0])[1:] == ["No", "007", "12:30"]


def test_a_last_turn_without_an_answer_is_left_out(tmp_path):
    frames, _, _ = prepared(tmp_path, talks_of(["Hello?", "Hi!", "Anyone?"]), TALK_FORM, **TALKS)
    turns = [list(turns) for frame in frames.values() for turns in frame["messages"]]
    assert ["Hello?", "Hi!"] in turns


def test_a_column_that_the_template_asks_about_may_be_empty(tmp_path):
    rows = [
        {"question": text, "context": (None, " ", "in a garden")[number % 3]} for number, (text, _) in enumerate(PAIRS)
    ]
    template = "{{ question }}{% if context %} {{ context }}{% endif %}"
    frames, refusals, _ = prepared(tmp_path, json.dumps(rows), JSON, text=template)
    assert refusals == []
    texts = set(pandas.concat(frames.values())["text"])
    assert texts == {text + (" in a garden" if number % 3 == 2 else "") for number, (text, _) in enumerate(PAIRS)}


def test_functions_of_jinja_are_no_columns(tmp_path):
    frames, _, _ = prepared(
        tmp_path, csv_of(PAIRS), CSV, text="{% for n in range(2) %}{{ n }} {{ sentence }}. {% endfor %}"
    )
    assert frames["train"]["text"].str.startswith("0 ").all()


def test_texts_with_labels_are_not_grouped_by_their_label(tmp_path):
    frames, _, _ = prepared(tmp_path, csv_of(PAIRS), CSV, text="{{ sentence }}", label="label", labels=LABELS)
    assert {name: len(frame) for name, frame in frames.items()} == {"train": 32, "validation": 4, "test": 4}


def test_parquet_keeps_its_values(tmp_path):
    file = tmp_path / "pairs.parquet"
    pandas.DataFrame(PAIRS, columns=["sentence", "label"]).to_parquet(file)
    assert pyarrow.parquet.read_metadata(file).num_rows == ROWS
    frames, refusals, _ = prepared_from(tmp_path, str(file), PARQUET, **LABELLED)
    assert refusals == []
    assert sum(map(len, frames.values())) == ROWS


def test_files_of_one_name_are_refused(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / "data" / folder).mkdir(parents=True)
        (tmp_path / "data" / folder / "rows.csv").write_text(csv_of(PAIRS))
    with pytest.raises(TunebookError, match=r"two files are called rows\.csv; rows are known by file and line"):
        prepared_from(tmp_path, str(tmp_path / "data"), CSV, **ANSWERED)


def test_an_empty_file_among_others_is_a_refusal(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.csv").write_text(csv_of(PAIRS))
    (tmp_path / "data" / "b.csv").write_text("sentence,label\n")
    with pytest.raises(TunebookError, match=r"1 of 41 rows are refused[^-]*- b\.csv: the file holds no row"):
        prepared_from(tmp_path, str(tmp_path / "data" / "*.csv"), CSV, **ANSWERED)


def test_the_stage_writes_what_it_refused(tmp_path, capsys):
    _, _, profile = prepared(tmp_path, with_row(7, "a"), CSV, **ANSWERED, tolerance=0.05)
    section = {"source": {"type": "path", "path": "bad.txt"}, "format": CSV, "licence": "MIT", "tolerance": 0.05}
    spec = {"name": "bad", **dump(Dataset.model_validate(section | ANSWERED))}
    (tmp_path / "study.json").write_text(json.dumps({"specs": {"prepare": {"bad": spec}}}))

    class Arguments:
        study, dataset, raw, output = tmp_path / "study.json", "bad", tmp_path / "raw" / "raw.parquet", tmp_path / "out"

    prepare_stage(Arguments)
    rejected = (tmp_path / "out" / "rejected.csv").read_text()
    assert rejected == "file,row,reason,found\nbad.txt,7,expected 2 fields,1 fields\n"
    assert json.loads((tmp_path / "out" / "profile.json").read_text()) == profile
    assert "refused 1" in capsys.readouterr().out


# --- the split ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def copied(tmp_path_factory):
    """600 rows in which every third is a near-copy of one before, and every tenth prompt has a second answer."""
    rows = []
    for number in range(600):
        text = sentence(number - number % 3) + " again" if number % 3 == 2 else sentence(number)
        rows.append((text, LABELS[number % 2 if number % 7 else 2]))
        if number % 10 == 0:
            rows.append((text, f"{LABELS[0]} {sentence(5000 + number)}"))
    folder = tmp_path_factory.mktemp("copied")
    return rows, folder, prepared(folder, csv_of(rows), CSV, **ANSWERED)


def test_no_row_and_no_copy_is_on_both_sides(copied):
    _, _, (frames, _, profile) = copied
    texts = {name: list(frame["prompt"] + "\n" + frame["completion"]) for name, frame in frames.items()}
    training = [set(map("".join, zip(*(text[start:] for start in range(5)), strict=False))) for text in texts["train"]]
    for text in texts["validation"] + texts["test"]:
        grams = set(map("".join, zip(*(text[start:] for start in range(5)), strict=False)))
        assert max(len(grams & other) / len(grams | other) for other in training) < 0.8
    assert profile["crossing_copies"] == 0
    assert profile["near_duplicates"] > 100
    assert not set(texts["train"]) & {*texts["validation"], *texts["test"]}


def test_a_prompt_is_on_one_side_only(copied):
    _, _, (frames, _, _) = copied
    prompts = [set(frame["prompt"]) for frame in frames.values()]
    assert sum(map(len, prompts)) == len(set.union(*prompts))
    assert sum(map(len, frames.values())) > len(set.union(*prompts))  # some do have two answers


def test_counts_add_up(copied):
    rows, _, (frames, refusals, profile) = copied
    dropped = profile["exact_duplicates"] + profile["near_duplicates"] + len(refusals)
    assert profile["raw_rows"] == len(rows) == profile["rows"] + dropped
    assert profile["splits"] == {name: len(frame) for name, frame in frames.items()}
    assert sum(profile["splits"].values()) == profile["rows"]


def test_the_seed_decides_the_split(copied, tmp_path):
    rows, _, (frames, _, _) = copied
    again, _, _ = prepared(tmp_path, csv_of(rows), CSV, **ANSWERED)
    other, _, _ = prepared(tmp_path, csv_of(rows), CSV, **ANSWERED, split={"seed": 1})
    for name in SPLITS:
        pandas.testing.assert_frame_equal(frames[name], again[name])
    assert set(other["test"]["row"]) != set(frames["test"]["row"])


@pytest.mark.parametrize(("train", "kept"), [(7, 7), (0.5, 40), (80, 80)])
def test_fewer_training_rows_leave_the_held_out_ones_as_they_are(train, kept):
    groups, labels = list(map(str, range(100))), [None] * 100
    split = {"validation": 10, "test": 10, "train": None, "seed": 3}
    whole, few = (split_rows(groups, labels, split | {"train": number}) for number in (None, train))
    assert (few == "train").sum() == kept
    assert (few == LEFT_OUT).sum() == 80 - kept
    for name in ("validation", "test"):
        assert ((few == name) == (whole == name)).all()
    with pytest.raises(TunebookError, match=r"found 81, but validation and test leave 80 rows"):
        split_rows(groups, labels, split | {"train": 81})


def test_rows_left_out_are_counted_and_cannot_leak(copied, tmp_path):
    rows, _, (frames, _, _) = copied
    few, _, profile = prepared(tmp_path, csv_of(rows), CSV, **ANSWERED, split={"train": 5})
    assert len(few["train"]) == profile["splits"]["train"] == 5
    assert profile["left_out"] == profile["rows"] - sum(profile["splits"].values())
    assert set(few["train"]["row"]) <= set(frames["train"]["row"])
    pandas.testing.assert_frame_equal(few["test"], frames["test"])
    assert profile["crossing_copies"] == 0


def test_similarity_is_that_of_sets_of_five_characters():
    sets = similarity.shingles(["abcdefg", "abcdefh", "uvwxyz"])
    matrix = next(similarity.similarities(sets, sets))
    assert matrix.tolist() == [[1, 0.5, 0], [0.5, 1, 0], [0, 0, 1]]


GROUPS = st.lists(st.integers(1, 6), min_size=20, max_size=80)
SIZES = st.floats(0.1, 0.4) | st.integers(1, 8)


@given(GROUPS, SIZES, SIZES, st.integers(0, 5), st.integers(1, 4))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_splits_keep_groups_and_sizes(sizes, validation, test, seed, labels):
    groups = [f"group {number}" for number, size in enumerate(sizes) for _ in range(size)]
    marks = [f"label {int(group.split()[1]) % labels}" for group in groups]
    split = {"validation": validation, "test": test, "train": None, "seed": seed}
    try:
        assigned = split_rows(groups, marks, split)
    except TunebookError:
        assume(False)
    assert list(assigned) == list(split_rows(groups, marks, split))
    sides = {}
    for group, side in zip(groups, assigned, strict=True):
        assert sides.setdefault(group, side) == side
    for name in ("validation", "test"):
        wanted = split[name] if split[name] >= 1 else split[name] * len(groups)
        assert abs((assigned == name).sum() - wanted) <= max(sizes)


@given(st.integers(30, 200), st.integers(1, 10), st.integers(1, 10), st.integers(2, 8))
@settings(max_examples=50, deadline=None, derandomize=True)
def test_splits_of_single_rows_are_exact_and_stratified(rows, validation, test, labels):
    groups, marks = list(map(str, range(rows))), [str(number % labels) for number in range(rows)]
    assigned = split_rows(groups, marks, {"validation": validation, "test": test, "train": None, "seed": 0})
    assert (assigned == "validation").sum() == validation
    assert (assigned == "test").sum() == test
    for name, size in (("validation", validation), ("test", test)):
        for label in set(marks):
            share = marks.count(label) / rows
            count = sum(mark == label and side == name for mark, side in zip(marks, assigned, strict=True))
            assert abs(count - share * size) <= 1.5
