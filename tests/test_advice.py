"""Advice helps: each message about a file proposes a change, and with that change the file is read whole."""

import json

import pandas
import pytest

from tests.bad_data import (
    ANSWERED,
    CSV,
    FRAME,
    JSON,
    JSONL,
    LABELLED,
    PAIRS,
    ROWS,
    TSV,
    csv_of,
    prepared,
    quoted_over_rows,
    with_row,
)
from tunebook.errors import TunebookError

CP1252 = csv_of([(f"it’s {text}, naïve", label) for text, label in PAIRS], ";").encode("cp1252")
MULTILINE = csv_of([(f'"{text}, so\nthat {text}"', label) for text, label in PAIRS])
SQUAD = json.dumps(
    {
        "version": "v2",
        "data": [
            {
                "title": "a",
                "paragraphs": [
                    {"context": text, "qas": [{"question": f"Which one is {label}?", "answers": [{"text": label}]}]}
                    for text, label in PAIRS
                ],
            }
        ],
    }
)
ANSWERS = {"prompt": "{{ context }} {{ question }}", "completion": "{{ answers[0].text }}"}

# name, format, content, data set, what the message proposes, the change
ADVICE = [
    ("quotes as text", TSV, quoted_over_rows(), ANSWERED, "declare format.quoting: none", {"quoting": "none"}),
    ("quotes over lines", CSV, MULTILINE, ANSWERED, "declare format.quoting: minimal", {"quoting": "minimal"}),
    ("a quote never closed", TSV, csv_of([('"' + PAIRS[0][0], "neutral"), *PAIRS[1:]], "\t"), ANSWERED,
     "declare format.quoting: none", {"quoting": "none"}),
    ("text after a quote", TSV, csv_of([(f'"{text}" it said', label) for text, label in PAIRS], "\t"), ANSWERED,
     "declare format.quoting: none", {"quoting": "none"}),
    ("quote in the header", TSV, csv_of(PAIRS, "\t", header=('"sentence" it said', "label")),
     ANSWERED | {"columns": {"sentence": '"sentence" it said'}}, "declare format.quoting: none", {"quoting": "none"}),
    ("semicolons", CSV, csv_of(PAIRS, ";"), ANSWERED, "declare format: {type: csv, delimiter: ';'}", {"delimiter": ";"}),
    ("tabs as csv", CSV, csv_of(PAIRS, "\t"), ANSWERED, "declare format: {type: tsv}", {"type": "tsv"}),
    ("commas as tsv", TSV, csv_of(PAIRS), ANSWERED, "declare format: {type: csv}", {"type": "csv"}),
    ("no header", CSV, csv_of(PAIRS[1:], header=PAIRS[0]), ANSWERED, "list them under format.names",
     {"names": ["sentence", "label"]}),
    ("no header, one value twice", CSV, csv_of(PAIRS[1:], header=(PAIRS[0][1], PAIRS[0][1])), ANSWERED,
     "list the columns under format.names", {"names": ["sentence", "label"]}),
    ("names and a header", CSV | {"names": ["sentence", "label"]}, csv_of(PAIRS), ANSWERED, "remove format.names",
     {"names": []}),
    ("encoding", CSV | {"delimiter": ";"}, CP1252, ANSWERED, "the line would read, in cp1252: 'it’s ",
     {"encoding": "cp1252"}),
    ("byte order mark", CSV, csv_of(PAIRS).encode("utf-16"), ANSWERED, "declare format.encoding: utf-16",
     {"encoding": "utf-16"}),
    ("JSON over lines as JSON lines", JSONL, json.dumps(FRAME.to_dict("records"), indent=1), LABELLED,
     "declare format json", {"type": "json"}),
    ("objects over lines as JSON lines", JSONL, "".join(json.dumps(row, indent=1) for row in FRAME.to_dict("records")),
     LABELLED, "declare format json", {"type": "json"}),
    ("records below a key", JSON, json.dumps({"rows": FRAME.to_dict("records"), "n": 40}), LABELLED,
     "set format.key to one of: rows (sentence, label)", {"key": "rows"}),
    ("records below two keys", JSON, json.dumps({"set": {"train": FRAME.to_dict("records")}}), LABELLED,
     "set format.key to one of: set.train (sentence, label)", {"key": "set.train"}),
    ("SQuAD", JSON, SQUAD, ANSWERS, "data.paragraphs.qas (question, answers)", {"key": "data.paragraphs.qas"}),
    ("lists of fields", JSON, json.dumps(PAIRS), ANSWERED, "fields are named in format.names",
     {"names": ["sentence", "label"]}),
]  # fmt: skip


@pytest.mark.parametrize("case", ADVICE, ids=[case[0] for case in ADVICE])
def test_advice_that_is_followed_helps(tmp_path, case):
    _, form, content, section, proposed, change = case
    with pytest.raises(TunebookError) as error:
        prepared(tmp_path, content, form, **section)
    assert proposed in str(error.value)
    frames, refusals, profile = prepared(tmp_path, content, form | change, **section)
    assert refusals == []
    assert profile["raw_rows"] == profile["rows"] == sum(map(len, frames.values())) == ROWS


def test_quotation_marks_are_kept_where_they_are_text(tmp_path):
    frames, _, _ = prepared(tmp_path, quoted_over_rows(), TSV | {"quoting": "none"}, **ANSWERED)
    texts = set(pandas.concat(frames.values())["prompt"])
    assert f'"{PAIRS[3][0]}' in texts
    assert f'{PAIRS[4][0]}"' in texts


def test_a_field_over_lines_is_told_from_swallowed_rows(tmp_path):
    """Where a line of the field is no row by itself, only one reading is possible."""
    content = with_row(3, '"amber\nbasket, ""copper"",\n\ndagger",neutral')
    frames, refusals, _ = prepared(tmp_path, content, CSV, **ANSWERED)
    assert refusals == []
    assert 'amber\nbasket, "copper",\n\ndagger' in set(pandas.concat(frames.values())["prompt"])


def test_the_encodings_that_are_proposed_show_how_the_line_would_read(tmp_path):
    rows = csv_of([*PAIRS, ("Größe für Äpfel, naïve Öfen", "neutral")], ";")
    with pytest.raises(TunebookError, match=r"row 42: byte .* is not utf-8; .*in cp125\d: 'Größe für Äpfel"):
        prepared(tmp_path, rows.encode("cp1252"), CSV | {"delimiter": ";"}, **ANSWERED)


def test_numbers_get_their_names_as_the_message_says(tmp_path):
    rows = json.dumps([{"sentence": text, "label": number % 2} for number, (text, _) in enumerate(PAIRS)])
    section = {"prompt": "{{ sentence }}", "label": "label"}
    with pytest.raises(
        TunebookError, match=r"(?s)none of 40 rows can be used.*a mapping gives numbers their names, labels: \{0: "
    ):
        prepared(tmp_path, rows, JSON, **section, labels=["no", "yes"])
    frames, _, _ = prepared(tmp_path, rows, JSON, **section, labels={0: "no", 1: "yes"})
    assert set(frames["train"]["completion"]) == {"no", "yes"}
