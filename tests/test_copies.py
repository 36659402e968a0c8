"""Copies: rows are compared by what they bring themselves; rows that are dropped are shown, and may not be too many."""

import json
import random

import pandas
import pytest

from tests.bad_data import ANSWERED, CSV, JSON, JSONL, LABELS, PAIRS, csv_of, prepared, sentence
from tunebook.data import similarity
from tunebook.errors import TunebookError
from tunebook.prepare import main as prepare_stage

PREAMBLE = (
    "Below is an instruction that describes a task. Write a response that completes the request in a fitting way."
)
INPUT = "Below is an instruction, paired with an input that gives further context. Write a response that completes it."


def sums(rows: int) -> list[dict[str, str]]:
    """Different short rows, 40 % of them with an input."""
    chosen = random.Random(0).sample([(a, b) for a in range(10, 99) for b in range(10, 99)], rows)
    return [
        {
            "instruction": f"What is {a} {('plus', 'times', 'minus')[a % 3]} {b}?",
            "input": sentence(number) if number % 5 < 2 else "",
            "output": str((a + b, a * b, a - b)[a % 3]),
        }
        for number, (a, b) in enumerate(chosen)
    ]


TEMPLATES = {
    "one literal": f"{PREAMBLE}\n\n### Instruction:\n{{{{ instruction }}}}{{% if input %}}\n\n### Input:\n{{{{ input }}}}"
    "{% endif %}\n\n### Response:\n",
    "one line": f"{PREAMBLE} {{{{ instruction }}}} {{% if input %}}{{{{ input }}}}{{% endif %}} The answer is:",
    "a literal each way": f"{{% if input %}}{INPUT} {{{{ instruction }}}} {{{{ input }}}}{{% else %}}{PREAMBLE} "
    "{{ instruction }}{% endif %}",
}


@pytest.mark.parametrize("template", TEMPLATES.values(), ids=TEMPLATES)
def test_the_text_of_a_template_makes_no_copies(tmp_path, template):
    rows = json.dumps(sums(200))
    frames, _, profile = prepared(tmp_path, rows, JSON, prompt=template, completion="{{ output }}")
    assert profile["near_duplicates"] == 0
    assert profile["rows"] == sum(map(len, frames.values())) == 200
    assert profile["warnings"] == profile["copies"] == []


def test_rows_that_come_with_their_preamble_are_no_copies(tmp_path):
    """As published sets have it: the whole prompt in one column, in two forms."""
    rows = [
        {
            "text": f"{INPUT if row['input'] else PREAMBLE}\n\n### Instruction:\n{row['instruction']}\n\n"
            + (f"### Input:\n{row['input']}\n\n" if row["input"] else "")
            + f"### Response:\n{row['output']}"
        }
        for row in sums(200)
    ]
    _, _, profile = prepared(tmp_path, json.dumps(rows), JSON, text="{{ text }}")
    assert profile["near_duplicates"] == 0


def test_copies_are_found_below_any_template(tmp_path):
    texts = [sentence(number) for number in range(60)]
    texts[30:40] = [f"{text}." for text in texts[:10]]
    rows = json.dumps([{"text": text} for text in texts])
    for template in ("{{ text }}", f"{PREAMBLE}\n{{{{ text }}}}", f"{{{{ text }}}} {INPUT}"):
        _, _, profile = prepared(tmp_path, rows, JSON, text=template)
        assert profile["near_duplicates"] == 10
        assert {(pair["row"], pair["copy_of"]) for pair in profile["copies"]} <= {
            (f"bad.txt:{number + 31}", f"bad.txt:{number + 1}") for number in range(10)
        }
        assert all(0.8 <= pair["similarity"] < 1 for pair in profile["copies"])


def test_what_a_template_chooses_tells_rows_apart(tmp_path):
    """Two answers that stand in the template are not the same text."""
    rows = [{"text": sentence(number // 2)[:18], "stars": number % 2} for number in range(80)]
    template = {"prompt": "{{ text }}", "completion": "{% if stars %}It is excellent.{% else %}Bad!{% endif %}"}
    _, _, profile = prepared(tmp_path, json.dumps(rows), JSON, **template)
    assert profile["rows"] == 80


def test_a_template_that_computes_with_its_text_still_does(tmp_path):
    template = (
        "{% set word %}amber{% endset %}{% if word in text %}with{% else %}without{% endif %} {{ text }}{{ word[0] }}"
    )
    frames, _, _ = prepared(tmp_path, csv_of(PAIRS), CSV, columns={"text": "sentence"}, text=template)
    for text in pandas.concat(frames.values())["text"]:
        assert text.split()[0] == ("with" if "amber" in text.split(maxsplit=1)[1] else "without")


def test_lines_that_many_rows_have_count_as_one_character():
    texts = [f"You are a helpful assistant who answers at length.\n{sentence(number)}" for number in range(30)]
    shorter = similarity.without_common_lines(texts)
    assert [text.split("\n")[1] for text in shorter] == [text.split("\n")[1] for text in texts]
    assert {len(text.split("\n")[0]) for text in shorter} == {1}
    assert similarity.without_common_lines(texts[:9]) == texts[:9]


def test_a_warning_stands_in_the_profile_and_on_the_terminal(tmp_path, capsys):
    rows = csv_of([*PAIRS, *PAIRS[:8]])
    _, _, profile = prepared(tmp_path, rows, CSV, **ANSWERED)
    message = "8 of 48 rows were dropped (0 refused, 8 exact copies, 0 near-copies); profile.json shows pairs of copies"
    assert profile["warnings"] == [message]
    assert profile["copies"][0] == {"row": "bad.txt:42", "copy_of": "bad.txt:2", "similarity": 1.0}
    run_stage(tmp_path, ANSWERED)
    assert f"warning: data set bad: {message}" in capsys.readouterr().out


def run_stage(folder, section):
    """The stage `prepare` on what was fetched to `folder`."""
    from tunebook.configuration.datasets import Dataset
    from tunebook.configuration.study import dump

    source = {"type": "path", "path": "bad.txt"}
    spec = {
        "name": "bad",
        **dump(Dataset.model_validate({"source": source, "format": CSV, "licence": "MIT", **section})),
    }
    (folder / "study.json").write_text(json.dumps({"specs": {"prepare": {"bad": spec}}}))

    class Arguments:
        study, dataset, raw, output = folder / "study.json", "bad", folder / "raw" / "raw.parquet", folder / "out"

    prepare_stage(Arguments)


def test_near_copies_that_are_too_many_stop_with_pairs_the_least_alike_first(tmp_path):
    texts = [sentence(number) for number in range(40)]
    texts += [f"{text} {'again' if number % 2 else '.'}" for number, text in enumerate(texts[:20])]
    rows = "\n".join(json.dumps({"text": text}) for text in texts)
    with pytest.raises(TunebookError) as error:
        prepared(tmp_path, rows, JSONL, text="{{ text }}")
    first, *pairs = str(error.value).split("\n")
    assert "20 of 60 rows are dropped (0 refused, 0 exact copies, 20 near-copies), max_dropped 0.3 allows 18" in first
    found = [float(pair.split("similarity ")[1][:4]) for pair in pairs]
    assert len(found) == 5
    assert found == sorted(found)
    assert found[0] < 0.95
    _, _, profile = prepared(tmp_path, rows, JSONL, text="{{ text }}", max_dropped=0.4)
    assert profile["near_duplicates"] == 20
    _, _, profile = prepared(tmp_path, rows, JSONL, text="{{ text }}", near_duplicate_threshold=0.99)
    assert profile["near_duplicates"] == 0


def test_rows_left_out_on_purpose_are_no_loss(tmp_path):
    _, _, profile = prepared(tmp_path, csv_of(PAIRS), CSV, **ANSWERED, split={"train": 3}, max_dropped=0)
    assert profile["left_out"] > 20
    assert profile["warnings"] == []


def test_labels_do_not_count_as_what_rows_share(tmp_path):
    """A label is a line that many rows have; rows with other texts stay."""
    frames, _, _ = prepared(tmp_path, csv_of(PAIRS), CSV, text="{{ sentence }}", label="label", labels=LABELS)
    assert sum(map(len, frames.values())) == len(PAIRS)
