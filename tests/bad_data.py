"""Files of rows, bad and good, what must be said about them, and their preparation."""

import gzip
import io
import json
import lzma
import random
import warnings
import zipfile

import pandas
import pyarrow

from tunebook.configuration.datasets import Dataset
from tunebook.configuration.study import dump
from tunebook.fetch_dataset import fetch_dataset
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
FRAME = pandas.DataFrame(PAIRS, columns=["sentence", "label"])


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


def zip_of(members) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return packed.getvalue()


def spreadsheet(sheets) -> bytes:
    """An .xlsx file of sheets with these rows: the few parts that the format (ECMA-376) asks for."""
    kinds = "http://schemas.openxmlformats.org"
    main, office = f"{kinds}/spreadsheetml/2006/main", f"{kinds}/officeDocument/2006/relationships"
    names = list(enumerate(sheets, start=1))
    entries = "".join(f'<sheet name="{name}" sheetId="{n}" r:id="r{n}"/>' for n, name in names)
    relations = "".join(
        f'<Relationship Id="r{n}" Type="{office}/worksheet" Target="worksheets/s{n}.xml"/>' for n, _ in names
    )
    package = f"{kinds}/package/2006"
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{package}/content-types"><Default Extension="xml" ContentType="text/xml"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{package}/relationships"><Relationship Id="r" Type="{office}/officeDocument" '
        'Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{main}" xmlns:r="{office}"><sheets>{entries}</sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{package}/relationships">{relations}</Relationships>',
    }
    for n, name in names:
        rows = "".join(f"<row>{''.join(map(_sheet_cell, row))}</row>" for row in sheets[name])
        parts[f"xl/worksheets/s{n}.xml"] = f'<worksheet xmlns="{main}"><sheetData>{rows}</sheetData></worksheet>'
    return zip_of(parts)


def _sheet_cell(value) -> str:
    if isinstance(value, int | float):
        return f"<c><v>{value}</v></c>"
    return f'<c t="inlineStr"><is><t>{value}</t></is></c>' if value else "<c/>"


CSV, TSV, JSON, JSONL, PARQUET, ARROW, XLSX = (
    {"type": kind} for kind in ("csv", "tsv", "json", "jsonl", "parquet", "arrow", "xlsx")
)
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


def quoted_over_rows() -> str:
    """Tab-separated rows without quoting, of which two hold one quotation between them."""
    pairs = list(PAIRS)
    pairs[3], pairs[4] = (f'"{pairs[3][0]}', pairs[3][1]), (f'{pairs[4][0]}"', pairs[4][1])
    return csv_of(pairs, "\t")


# name, format, content of the file, data set, what the message must say
REFUSED = [
    # the file as a whole
    ("empty file", CSV, "", ANSWERED, "bad.txt, row 1: empty; expected a line with column names"),
    ("header only", CSV, "sentence,label\n", ANSWERED, "bad.txt: the file holds no row (found 15 bytes)"),
    ("empty jsonl", JSONL, "\n\n", ANSWERED, "bad.txt: the file holds no row (found 2 bytes)"),
    ("empty list", JSON, "[]", ANSWERED, "bad.txt: the file holds no row (found 2 bytes)"),
    ("gzip file cut short", CSV, gzip.compress(csv_of(PAIRS).encode())[:-20], ANSWERED,
     "bad.txt: a gzip file that cannot be unpacked (Compressed file ended before the end-of-stream marker was reached)"),
    ("xz file damaged", CSV, lzma.compress(csv_of(PAIRS).encode())[:30], ANSWERED,
     "bad.txt: a xz file that cannot be unpacked ("),
    ("zstd file damaged", CSV, b"\x28\xb5\x2f\xfdabc", ANSWERED, "bad.txt: a zstd file that cannot be unpacked ("),
    ("zip archive damaged", CSV, b"PK\x03\x04abc", ANSWERED,
     "bad.txt: a zip archive that cannot be unpacked (File is not a zip file); fetch it again"),
    ("zip archive of two files", CSV, zip_of({"a.csv": csv_of(PAIRS), "b.csv": ""}), ANSWERED,
     "bad.txt: found a zip archive of 2 files (a.csv, b.csv): unpack it"),
    ("spreadsheet as csv", CSV, spreadsheet({"rows": [("sentence", "label"), *PAIRS]}), ANSWERED,
     "bad.txt: found a spreadsheet, not text: declare format xlsx"),
    ("csv as spreadsheet", XLSX, csv_of(PAIRS), ANSWERED, "bad.txt: not a spreadsheet ("),
    ("spreadsheet with two sheets", XLSX, spreadsheet({"a": PAIRS, "b": PAIRS}), ANSWERED,
     "bad.txt: found several sheets (a, b); name one under format.key"),
    ("spreadsheet without the sheet", XLSX | {"key": "c"}, spreadsheet({"a": PAIRS}), ANSWERED,
     "bad.txt: no sheet 'c'; its sheets: a"),
    ("tar archive", CSV, gzip.compress(b"x" * 257 + b"ustar" + b"x" * 300), ANSWERED,
     "bad.txt: found a tar archive: unpack it"),
    ("Arrow as csv", CSV, b"ARROW1\0\0", ANSWERED, "bad.txt: found an Arrow file, not text: declare format arrow"),
    ("csv as Arrow", ARROW, csv_of(PAIRS), ANSWERED, "bad.txt: not an Arrow file ("),
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
     "bad.txt, row 1: label stands twice in ['label', 'label']; give each column a name of its own"),
    ("header without a name", CSV, ",\na,b\n", ANSWERED, "bad.txt, row 1: no column has a name in ['', '']"),
    ("wrong delimiter", CSV, csv_of(PAIRS, ";"), ANSWERED,
     "data set bad: no column label, sentence; the rows have: sentence;label; mend the templates, or map names under "
     "columns; the line of column names has ';' in it: declare format: {type: csv, delimiter: ';'}"),
    ("one column", CSV, "words\na\n", ANSWERED, "the rows have: words; mend the templates, or map names under columns; is "
     "the delimiter right?"),
    ("tabs as csv", TSV, csv_of(PAIRS), ANSWERED, "the rows have: sentence,label"),
    ("no such column", CSV, csv_of(PAIRS), ANSWERED | {"completion": "{{ answer }}"},
     "no column answer; the rows have: sentence, label"),
    ("no such column to map", CSV, csv_of(PAIRS), ANSWERED | {"columns": {"x": "Sentence"}}, "no column Sentence"),
    ("quote that never closes", CSV, with_row(5, '"amber,neutral'), ANSWERED,
     "bad.txt, row 5: a quote opens here that is not closed up to row 41"),
    ("quote that closes too late", CSV, with_row(5, '"amber,neutral').replace(sentence(10), f'"{sentence(10)}"'),
     ANSWERED, "bad.txt, row 5: a quote opens here that is not closed up to row 12"),
    ("objects one after another, one broken", JSON, jsonl_of(3, '{"sentence": ]'), ANSWERED,
     "bad.txt, row 3: not JSON: Expecting value (found ']')"),
    ("objects and something else", JSON, jsonl_of(3, "[1]"), ANSWERED,
     "bad.txt, row 3: not JSON: expected one more object (found '[1]')"),
    ("json as jsonl", JSONL, json.dumps([{"sentence": "a"}], indent=1), ANSWERED,
     "bad.txt, row 1: JSON that runs over several lines, not one record a line; declare format json"),
    ("json mapping", JSON, '{"rows": []}', ANSWERED,
     "bad.txt: found a mapping with rows where a list of records is expected; set format.key to one of: rows (0 entries)"),
    ("one object", JSON, '{"sentence": "a", "label": "b"}', ANSWERED,
     "bad.txt: found a mapping with sentence, label where a list of records is expected; write the records as a list"),
    ("mappings that may be rows or columns", JSON, '{"a": {"x": 1, "y": 2}, "b": {"x": 3, "y": 4}}', ANSWERED,
     "bad.txt: found a mapping with a, b where a list of records is expected; write the records as a list"),
    ("columns of different lengths", JSON, '{"sentence": ["a", "b"], "label": ["c"]}', ANSWERED,
     "bad.txt: found one list a column, but of different lengths (sentence 2, label 1)"),
    ("rows of another length than the columns", JSON, '{"columns": ["sentence", "label"], "data": [["a", "b"], ["c"]]}',
     ANSWERED, "bad.txt, row 2: expected 2 fields (found 1 fields)"),
    ("path that ends early", JSON | {"key": "data.rows"}, '{"data": [{"rows": []}, {"lines": []}]}', ANSWERED,
     "bad.txt: no key 'rows'; found: lines"),
    ("json without the key", JSON | {"key": "data"}, '{"rows": []}', ANSWERED, "bad.txt: no key 'data'; found: rows"),
    ("json too deep", JSON, "[" * 100_000, ANSWERED, "bad.txt: not JSON that can be read"),
    ("yaml broken", YAML_FORM, "rows: [a\nb: }", ANSWERED, "bad.txt: not YAML: while parsing a flow sequence"),
    ("yaml tag", YAML_FORM, "rows: !!int ''", ANSWERED, "bad.txt: not YAML"),
    ("python without the variable", PYTHON, "COLUMNS = 1\nx, y = 2, 3\n", ANSWERED,
     "bad.txt: no variable 'ROWS'; found: COLUMNS, ?"),
    ("python with code", PYTHON, "import os\nROWS = os.listdir()\n", ANSWERED,
     "bad.txt, row 2: ROWS is not a literal (found os.listdir()); the file is read and never run"),
    ("python broken", PYTHON, "ROWS = [\n", ANSWERED, "bad.txt, row 1: not Python: '[' was never closed"),
    ("quotes that swallow a row", TSV, quoted_over_rows(), ANSWERED,
     "bad.txt, row 5: a quote opens here and closes in row 6, but each of these lines is a whole row by itself (found '\""),
    ("quotes that swallow rows and a blank line", TSV, quoted_over_rows().replace("\n", "\n\n"), ANSWERED,
     "bad.txt, row 9: a quote opens here and closes in row 11, but each of these lines is a whole row by itself"),
    ("header and no header", CSV | {"names": ["sentence", "label"]}, csv_of(PAIRS), ANSWERED,
     "bad.txt, row 1: the file has a line of column names of its own; remove format.names"),
    # one row
    ("one field too many", CSV, with_row(7, "a,b,c"), ANSWERED, "bad.txt, row 7: expected 2 fields (found 3 fields)"),
    ("one field too few", CSV, with_row(7, "abc"), ANSWERED, "bad.txt, row 7: expected 2 fields (found 1 fields)"),
    ("text below a column without a name", CSV, csv_of(PAIRS, header=("sentence", "label", "")).replace(
        LABELS[1], "neutral,").replace(LABELS[0], "negative,").replace(LABELS[2], "positive,").replace(
        "negative,", "negative,and more", 1), ANSWERED,
     "bad.txt, row 2: column 3 has no name; name it in the first line, or empty it (found 'and more')"),
    ("text after a quote", CSV, with_row(7, '"a"b,c'), ANSWERED,
     "bad.txt, row 7: not readable as delimited text; if quotation marks are part of the text, declare format.quoting: "
     "none (found ',' expected after"),
    ("NUL byte", CSV, with_row(7, "am\0ber,neutral"), ANSWERED,
     r"bad.txt, row 7: NUL byte in sentence (found 'am\x00ber')"),
    ("no delimiter in the line", AT, "a@neutral\nno delimiter\n", ANSWERED,
     "bad.txt, row 2: expected 2 fields parted by '@' (found 'no delimiter')"),
    ("line that is no JSON", JSONL, jsonl_of(3, '{"a": '), ANSWERED,
     'bad.txt, row 3: not JSON: Expecting value (found {"a": )'),
    ("line that is no object", JSONL, jsonl_of(3, "[1]"), ANSWERED,
     "bad.txt, row 3: expected a mapping; fields are named in format.names (found [1])"),
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
     "bad.txt, row 5: unknown label; the labels are negative, neutral, positive (found '3'; a mapping gives numbers their "
     "names, labels: {3: ...})"),
    ("number that a table made a float", JSON, json_of(label=3.0), LABELLED, "negative, neutral, positive (found '3'; a mapping"),
    ("score", JSON, json_of(label=4.22), LABELLED,
     "bad.txt, row 5: a score to predict (regression) is not offered; make classes of scores by a template under label "
     "(found 4.22)"),
    ("score in csv", CSV, with_row(7, "amber,4.22"), LABELLED, "row 7: a score to predict (regression) is not offered"),
    ("several labels", JSON, json_of(label=["neutral", "positive"]), LABELLED,
     "bad.txt, row 5: several labels a row (multi-label) are not offered; if it is always one, take it by a template, such "
     "as label: '{{ labels[0] }}' (found ['neutral', 'positive'])"),
    ("several labels in one text", CSV, with_row(7, "amber,neutral|positive"), LABELLED,
     "row 7: several labels a row (multi-label) are not offered; a row has one label (found 'neutral|positive')"),
    ("label in another case", CSV, with_row(7, "amber,Positive"), LABELLED,
     "(found 'Positive'; normalise_labels: true takes another case or other spaces as the same label)"),
    ("label that YAML reads as a truth value", CSV, with_row(7, "amber,yes"), LABELLED | {"labels": [True, False]},
     "'yes'; YAML reads yes, no, on and off as true and false: write them in quotes under labels"),
    ("template error", JSON, json_of(label="x"), ANSWERED | {"completion": "{{ label + 1 }}"},
     'bad.txt, row 1: the completion template failed: can only concatenate str (not "int") to str'),
    ("template that includes", CSV, csv_of(PAIRS), ANSWERED | {"prompt": "{{ sentence }}{% include 'x' %}"},
     "row 2: the prompt template failed: no loader"),
    ("template that reaches out", CSV, csv_of(PAIRS), ANSWERED | {"prompt": "{{ sentence.__class__.__mro__ }}"},
     "row 2: the prompt template failed: access to attribute '__class__'"),
    ("one turn", TALK_FORM, talks_of(["Hello?"]), TALKS,
     "bad.txt, row 41: a conversation needs two turns (found ['Hello?'])"),
    ("turns that are no list", TALK_FORM, json.dumps([{"turns": "Hello? Hi!"}]), TALKS,
     "bad.txt, row 1: turns is not a list of turns (found 'Hello? Hi!' (1x))"),
    ("empty turn", TALK_FORM, talks_of(["Hello?", " "]), TALKS, "bad.txt, row 41: empty turn 2 of turns (found ' ')"),
    ("null turn", TALK_FORM, talks_of(["Hello?", None]), TALKS,
     "bad.txt, row 41: missing turn 2 of turns (found None)"),
    ("turns with roles", TALK_FORM, talks_of([{"role": "user"}, "Hi"]), TALKS,
     "bad.txt, row 41: some turns have roles and some have none (found [{'role': 'user'}, 'Hi'])"),
    ("odd number of turns without roles", TALK_FORM, talks_of(["Be brief.", "Hello?", "Hi!"]), TALKS,
     "bad.txt, row 41: an odd number of turns without roles: who says what cannot be told; declare format.style: turns"),
    # all rows together
    ("all rows refused", CSV, csv_of([(text, "good") for text, _ in PAIRS]), LABELLED | {"tolerance": 0.9},
     "none of 40 rows can be used\n  - 40 rows, the first bad.txt, row 2: unknown label; the labels are negative, neutral, "
     "positive (found 'good' (40x))"),
    ("two reasons for all rows", CSV, csv_of([(text, "neutral") for text, _ in PAIRS[:30]] + [(" ", "b")] * 10),
     LABELLED | {"labels": ["up", "down"], "tolerance": 0.9},
     "none of 40 rows can be used\n  - 30 rows, the first bad.txt, row 2: unknown label; the labels are up, down (found "
     "'neutral' (30x))\n  - 10 rows, the first bad.txt, row 32: empty sentence (found ' ' (10x))"),
    ("most rows refused", CSV, csv_of([(text, "good") for text, _ in PAIRS[1:]] + PAIRS[:1]), LABELLED | {"tolerance": 0.9},
     "39 of 40 rows are refused, tolerance 0.9 allows 36; so many hint at the templates, the labels or the format"),
    ("more than is tolerated", CSV, with_row(7, "a").replace(sentence(20), " "), ANSWERED | {"tolerance": 0.04},
     "2 of 40 rows are refused, tolerance 0.04 allows 1; mend the rows, or declare a tolerance of at least 0.0500"),
    ("one row", CSV, csv_of(PAIRS[:1]), ANSWERED,
     "the split of 1 rows leaves 1 train, 0 validation, 0 test; give more rows"),
    ("copies of one row", CSV, csv_of(PAIRS[:1] * 50), ANSWERED | {"max_dropped": 1}, "the split of 1 rows leaves"),
    ("too many copies", CSV, csv_of(PAIRS + PAIRS[:20]), ANSWERED,
     "20 of 60 rows are dropped (0 refused, 20 exact copies, 0 near-copies), max_dropped 0.3 allows 18; where the rows below "
     "differ in what matters raise near_duplicate_threshold; where they are copies raise max_dropped\n  - bad.txt:42 copies "
     f"bad.txt:2, similarity 1.00: '{sentence(0)[:20]}"),
    ("too many refused and copied", CSV, csv_of([*PAIRS, *PAIRS[:10], *[("a", " ")] * 10]), ANSWERED | {"tolerance": 0.2},
     "20 of 60 rows are dropped (10 refused, 10 exact copies, 0 near-copies), max_dropped 0.3 allows 18"),
    ("more refused than may be dropped", CSV, csv_of([*PAIRS, *[("a", " ")] * 20]), ANSWERED | {"tolerance": 0.9},
     "20 of 60 rows are dropped (20 refused, 0 exact copies, 0 near-copies), max_dropped 0.3 allows 18; mend the rows, or "
     "raise max_dropped"),
    ("one class", CSV, csv_of([(text, "neutral") for text, _ in PAIRS]), LABELLED,
     "data set bad: no training row has the label negative or positive (found 32 neutral)"),
    ("one prompt", CSV, csv_of([("amber", text) for text, _ in PAIRS]), ANSWERED,
     "the split of 40 rows leaves 40 train, 0 validation, 0 test"),
    ("split that takes all", CSV, csv_of(PAIRS), ANSWERED | {"split": {"validation": 20, "test": 20}},
     "leaves 0 train, 20 validation, 20 test"),
    ("split larger than the data", CSV, csv_of(PAIRS), ANSWERED | {"split": {"validation": 500}},
     "leaves 0 train, 36 validation, 4 test"),
]  # fmt: skip


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
    ("empty columns without names", CSV, csv_of(PAIRS, header=("sentence", "label", "", "")).replace(
        "tive\n", "tive,,\n").replace("tral\n", "tral,,\n"), LABELLED),
    ("empty fields beyond the columns", CSV, csv_of(PAIRS, end=",,\n").replace("label,,", "label", 1), LABELLED),
    ("the index that pandas writes", CSV, "".join(
        f"{number},{text},{label}\n" for number, (text, label) in enumerate([("sentence", "label"), *PAIRS], start=-1)
     ).removeprefix("-1"), LABELLED),
    ("no header", CSV | {"names": ["sentence", "label"]}, csv_of(PAIRS[1:], header=PAIRS[0]), LABELLED),
    ("no header, tabs", TSV | {"names": ["sentence", "label"]}, csv_of(PAIRS[1:], "\t", header=PAIRS[0]), LABELLED),
    ("quotation marks as text", TSV | {"quoting": "none"}, quoted_over_rows(), LABELLED),
    ("gzip", CSV, gzip.compress(csv_of(PAIRS).encode()), LABELLED),
    ("xz", CSV, lzma.compress(csv_of(PAIRS).encode()), LABELLED),
    ("zstd", CSV, pyarrow.compress(csv_of(PAIRS).encode(), codec="zstd", asbytes=True), LABELLED),
    ("zip", JSON, zip_of({"rows.json": json_of(), "__MACOSX/._rows.json": "x", "folder/": ""}), LABELLED),
    ("gzip in a zip", JSONL, zip_of({"rows.gz": gzip.compress(FRAME.to_json(orient="records", lines=True).encode())}),
     LABELLED),
    ("spreadsheet", XLSX, spreadsheet({"rows": [("sentence", "label", ""), *PAIRS[:20], ("", ""), *PAIRS[20:]]}), LABELLED),
    ("second sheet of a spreadsheet", XLSX | {"key": "b"},
     spreadsheet({"a": PAIRS, "b": [("sentence", "label"), *PAIRS]}), LABELLED),
    ("json", JSON, json_of(), LABELLED),
    ("jsonl as json", JSON, FRAME.to_json(orient="records", lines=True), LABELLED),
    ("json over lines, objects one after another", JSON, "\n".join(
        json.dumps({"sentence": text, "label": label}, indent=1) for text, label in PAIRS), LABELLED),
    ("json lines with commas and a mark", JSONL, ("\ufeff" + ",\n".join(
        json.dumps({"sentence": text, "label": label}) for text, label in PAIRS) + ","), LABELLED),
    ("json lines of lists", JSONL | {"names": ["sentence", "label"]}, "\n".join(map(json.dumps, PAIRS)), LABELLED),
    ("json, pandas by columns", JSON, FRAME.to_json(), LABELLED),
    ("json, pandas by columns, named rows", JSON, FRAME.rename(index=lambda row: f"r{row}").to_json(), LABELLED),
    ("json, pandas by rows", JSON, FRAME.to_json(orient="index"), LABELLED),
    ("json, pandas by named rows", JSON, FRAME.rename(index=lambda row: f"r{row}").to_json(orient="index"), LABELLED),
    ("json, pandas split", JSON, FRAME.to_json(orient="split"), LABELLED),
    ("json, pandas split, by its key", JSON | {"key": "data", "names": ["sentence", "label"]},
     FRAME.to_json(orient="split"), LABELLED),
    ("json, pandas table", JSON | {"key": "data"}, FRAME.to_json(orient="table"), LABELLED),
    ("json, pandas records", JSON, FRAME.to_json(orient="records"), LABELLED),
    ("json, lists by column", JSON, json.dumps(FRAME.to_dict("list")), LABELLED),
    ("json, columns below a key", JSON | {"key": "train"}, json.dumps({"train": FRAME.to_dict("list")}), LABELLED),
    ("json, lists within lists", JSON | {"key": "data.parts.qas"}, json.dumps({"version": 1, "data": [
        {"title": "a", "parts": [{"sentence": text, "qas": [{"label": label}]} for text, label in PAIRS[:20]]},
        {"title": "b", "parts": [{"sentence": text, "qas": [{"label": label}]} for text, label in PAIRS[20:]]}]}), LABELLED),
    ("jsonl with blank lines", JSONL,
     jsonl_of(1, "").replace("\n", "\n\n") + "\n" + json.dumps({"sentence": sentence(0), "label": "negative"}),
     LABELLED),
    ("python", PYTHON, f"import os\nROWS: list = {PAIRS!r}\n", LABELLED),
    ("yaml", YAML_FORM, "rows:\n" + "".join(f"- [{text}, {label}]\n" for text, label in PAIRS), LABELLED),
]  # fmt: skip
