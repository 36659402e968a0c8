"""What no single key of a data set can tell: rows of two kinds at once, templates without a column, formats, splits."""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Mapping
from typing import Any

import jinja2

from tunebook.configuration.datasets import Split
from tunebook.configuration.raw import section_of, twice
from tunebook.configuration.styles import STYLES, style_of, styled
from tunebook.configuration.wording import shown
from tunebook.data.labels import comparable, label_text
from tunebook.data.templates import RowTemplates, impurities, names_of

FORMAT_KEYS = {  # format -> what it takes beside its type
    "csv": ("encoding", "delimiter", "quoting", "names"),
    "tsv": ("encoding", "quoting", "names"),
    "json": ("encoding", "key", "names"),
    "jsonl": ("encoding", "names"),
    "parquet": (),
    "arrow": (),
    "xlsx": ("key",),
    "delimited": ("encoding", "delimiter", "names"),
    "yaml": ("encoding", "key", "names"),
    "python": ("encoding", "key", "names"),
    "text": ("encoding", "documents"),
}


def dataset_problems(path: str, dataset: Mapping[str, Any]) -> Iterator[str]:
    """`dataset`: its raw config, before a style is filled in."""
    yield from _style_problems(path, dataset)
    dataset = styled(dataset)
    given = [key for key in ("text", "messages", "completion") if dataset.get(key) is not None]
    if len(given) != 1 and not (not given and dataset.get("label") is not None and dataset.get("prompt") is not None):
        yield (
            f"{path}: found {' and '.join(given) or 'none'} of text, messages, completion; a row is either a text, or "
            "messages, or a prompt with a completion (or with a label); format.style names widely used forms"
        )
    if dataset.get("prompt") is not None and ({"text", "messages"} & set(given)):
        yield f"{path}.prompt: found beside {given[0]}; a prompt goes with a completion or a label"
    if dataset.get("completion") is not None and dataset.get("prompt") is None:
        yield f"{path}.prompt: missing; a completion needs a prompt (a text without a prompt is: text)"
    if dataset.get("long_texts") == "blocks" and "text" not in given:
        yield f"{path}.long_texts: found blocks, but rows have no text; only texts without a prompt are learnt in blocks"
    for key in ("prompt", "completion", "text", "label"):
        if isinstance(dataset.get(key), str) and (key != "label" or "{{" in dataset[key]):
            yield from _template_problems(f"{path}.{key}", dataset[key])
    yield from _label_problems(path, dataset)
    yield from _format_problems(path, dataset)
    yield from _split_problems(path, section_of(dataset, "split"))
    yield from _given_split_problems(path, section_of(dataset, "split"), section_of(dataset, "source"))


def _style_problems(path: str, dataset: Mapping[str, Any]) -> Iterator[str]:
    """A style stands for templates of its own, and `turns` for a column that somebody must name."""
    style = style_of(dataset)
    beside = [key for key in ("prompt", "completion", "text", "messages") if dataset.get(key) is not None]
    if style is not None and "prompt" in STYLES[style] and beside:
        yield f"{path}.{beside[0]}: found beside format.style {style}, which says what is asked and answered; remove one"
    if style == "turns" and styled(dataset).get("messages") is None:
        yield f"{path}.messages: missing; name the column that holds the turns"


def _label_problems(path: str, dataset: Mapping[str, Any]) -> Iterator[str]:
    label, labels = dataset.get("label"), dataset.get("labels")
    if labels and label is None:
        yield f"{path}.label: missing; labels are listed, so name the column that holds them"
    if label is not None and not labels:
        yield (
            f"{path}.labels: missing; list the labels that column {shown(label)} may hold (a score to predict, or several "
            "labels a row, are not offered)"
        )
    if isinstance(labels, list):
        for word in twice([label_text(word) for word in labels]):
            yield f"{path}.labels: found {word} twice in {shown(labels)}; labels differ from each other"
        texts, names = labels, labels
    elif isinstance(labels, Mapping):
        texts, names = [*labels, *labels.values()], list(labels.values())
    else:
        return
    if len({label_text(name) for name in names}) == 1:
        yield f"{path}.labels: found one label, {shown(names[0])}; there is nothing to tell apart: list two at least"
    for index, word in enumerate(texts):
        if isinstance(word, str) and word != word.strip():
            yield f"{path}.labels.{index}: found {word!r}; rows lose their outer white space, so no label may have it"
    if dataset.get("normalise_labels") is True:
        for word in twice([comparable(label_text(text), normalise=True) for text in texts[: len(labels)]]):
            yield f"{path}.normalise_labels: found true, but then two labels are both {word!r}; list one of them"


def _template_problems(path: str, template: str) -> Iterator[str]:
    environment = RowTemplates()
    try:
        tree = environment.parse(template)
        impure = list(impurities(tree))
        for what in impure:
            yield f"{path}: found {what}; a template is a function of its row: the same row gives the same text each time"
        if impure:
            return
        environment.from_string(template)  # unknown filters and tests come to light only now
        variables = names_of(tree) - set(environment.globals)
    except jinja2.TemplateSyntaxError as error:
        yield f"{path}: found {shown(template)}; not a Jinja template: {error.message}"
        return
    except (RecursionError, MemoryError, SyntaxError):  # of Python, which Jinja makes of a template
        yield f"{path}: found {shown(template)}; too deeply nested for a template"
        return
    if not variables:
        yield (
            f"{path}: found {shown(template)}; it names no column, so that every row would be the same: use "
            "{{ column }}"
        )


def _format_problems(path: str, dataset: Mapping[str, Any]) -> Iterator[str]:
    source, form = dataset.get("source"), dataset.get("format")
    if not isinstance(source, Mapping):
        return
    if source.get("type") == "generated":
        if form is not None:
            yield f"{path}.format: found for a generated source, which needs none; remove it"
        return
    if form is None:
        yield f"{path}.format: missing; say how the rows stand in the files, such as format: {{type: csv}}"
    if isinstance(form, Mapping) and isinstance(form.get("type"), str):
        yield from _format_key_problems(f"{path}.format", form["type"], form)


def _format_key_problems(path: str, kind: str, form: Mapping[str, Any]) -> Iterator[str]:
    for key in ("encoding", "delimiter", "quoting", "names", "key", "documents"):
        if form.get(key) and key not in FORMAT_KEYS.get(kind, (key,)):
            takes = f"takes {' and '.join(FORMAT_KEYS[kind])}" if FORMAT_KEYS[kind] else "takes nothing"
            yield f"{path}.{key}: found {shown(form[key])}, but {kind} {takes} beside its type; remove it"
    if kind == "delimited":
        yield from (
            f"{path}.{key}: missing; delimited text needs it" for key in ("delimiter", "names") if not form.get(key)
        )
    if kind == "python" and not form.get("key"):
        yield f"{path}.key: missing; name the variable that holds the rows"
    delimiter, encoding = form.get("delimiter"), form.get("encoding")
    if kind == "csv" and isinstance(delimiter, str) and (len(delimiter) > 1 or delimiter in '"\r\n'):
        yield (
            f"{path}.delimiter: found {delimiter!r}; csv takes one character, not a quote or a line end: or use type "
            "delimited"
        )
    for word in twice(form.get("names")):
        yield f"{path}.names: found {word} twice; each field has a name of its own"
    if isinstance(encoding, str) and encoding and not _is_encoding(encoding):
        yield f"{path}.encoding: found {shown(encoding)}; not an encoding that Python knows, such as utf-8 or latin-1"


def _is_encoding(name: str) -> bool:
    try:
        codecs.lookup(name)
        return b"a".decode(name) is not None
    except UnicodeDecodeError:  # a real one, of two bytes a character
        return True
    except (LookupError, ValueError):
        return False


def _split_problems(path: str, split: Mapping[str, Any]) -> Iterator[str]:
    sizes = {key: split.get(key, Split.model_fields[key].default) for key in ("validation", "test", "train")}
    numbers = {key: size for key, size in sizes.items() if isinstance(size, int | float) and not isinstance(size, bool)}
    for key, size in numbers.items():
        if size > 1 and size % 1:
            yield f"{path}.split.{key}: found {size}; a share below 1 or a whole number of rows"
    numbers.pop("train", None)
    if len(numbers) == 2 and all(0 < size < 1 for size in numbers.values()) and sum(numbers.values()) >= 1:
        yield (
            f"{path}.split: found shares {sizes['validation']} and {sizes['test']}; together they must leave rows to "
            "train on"
        )


def _given_split_problems(path: str, split: Mapping[str, Any], source: Mapping[str, Any]) -> Iterator[str]:
    files = {key: split[key] for key in ("train", "validation", "test") if _names_files(split.get(key))}
    if files and split.get("column"):
        yield f"{path}.split.column: found beside files for {' and '.join(files)}; the splits are given by one of them"
    if source.get("type") == "generated":
        for key, name in files.items():
            yield f"{path}.split.{key}: found files ({name!r}) for a generated source; give a share or a number"


def _names_files(value: Any) -> bool:
    try:
        return isinstance(value, str) and bool(value) and float(value) is None
    except ValueError:
        return True
