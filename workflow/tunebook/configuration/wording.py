"""Problems of a config in the project's words: path as the user wrote it, value found, what is allowed."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from tunebook.configuration.config import Study
from tunebook.configuration.section import Commit, HubId, Name, Sha256
from tunebook.configuration.synonyms import known_elsewhere
from tunebook.suggestions import nearest

PATTERNS = {  # a pattern of config.py -> what it allows
    Name: "a name of letters, digits, '.', '_' and '-', starting with a letter or digit, 64 characters at most",
    Sha256: "64 hexadecimal digits (0-9, a-f)",
    HubId: "an id of the hub: owner/name, or a name alone; no address",
    Commit: (
        "a commit id, 40 hexadecimal digits in small letters (7 at least); a branch or a tag can move, so that it pins "
        "nothing: take the id from the history of the model's or data set's files"
    ),
}
SLIP = 0.8  # difflib's ratio: from here on a key is a slip of the pen, and no key of another tool
ALLOWED = {typing.get_args(kind)[1].pattern: words for kind, words in PATTERNS.items()}
EXPECTED = {  # pydantic's kind of finding -> what the file should say
    "string_type": "a text",
    "string_too_short": "a text that is not empty",
    "tuple_type": "a list",
    "too_short": "at least one entry",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
}


def shown(value: object) -> str:
    """A value as a message shows it: short, and a mapping only as such."""
    if value is None:
        return "nothing"
    if isinstance(value, Mapping):
        return "a mapping" if value else "an empty mapping"
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def sentence(detail: Mapping[str, Any], root: type[BaseModel] = Study) -> str:
    """One finding of pydantic (an item of `ValidationError.errors()`) of a `root` section, as a sentence."""
    path, model = _walk(detail["loc"], root)
    kind, found, context = detail["type"], detail.get("input"), detail.get("ctx", {})
    if kind == "extra_forbidden":
        key, allowed = detail["loc"][-1], _keys(_walk(detail["loc"][:-1], root)[1])
        slip = nearest(key, allowed, cutoff=SLIP)
        advice = slip or known_elsewhere(str(key), path, root) or nearest(key, allowed)
        return f"{path}: unknown key (found {shown(found)}){advice}; allowed: {', '.join(allowed)}"
    if kind == "missing":
        return f"{path}: missing; this key is required"
    if kind in ("literal_error", "union_tag_invalid"):
        word = context.get("tag", found)
        allowed = str(context.get("expected") or context.get("expected_tags")).replace("'", "").replace(" or ", ", ")
        or_list = " or a list" if _is_mark(detail["loc"][-1]) else ""
        return f"{path}: found {shown(word)}; allowed: {allowed}{or_list}{nearest(word, allowed.split(', '))}"
    if kind == "union_tag_not_found":
        allowed = ", ".join(_variants(model))
        return f"{path}: found {shown(found)}; expected a mapping with a type, one of {allowed}"
    if kind == "string_pattern_mismatch":
        return f"{path}: found {shown(found)}; allowed: {ALLOWED[context['pattern']]}"
    if kind in EXPECTED:
        quotes = "; write it in quotes" if kind == "string_type" and isinstance(found, bool | int | float) else ""
        return f"{path}: found {shown(found)}; expected {EXPECTED[kind]}{quotes}"
    message = detail["msg"].removeprefix("Value error, ").replace("Input should", "it should")
    return f"{path}: found {shown(found)}; {message[0].lower()}{message[1:]}"


def sentences(details: list[Mapping[str, Any]], root: type[BaseModel] = Study) -> list[str]:
    """All findings of pydantic as sentences, less those that say a thing again: where a word or a list may stand, it
    reports on both, and it calls a list short whose entries are wrong."""
    chosen = []
    for detail in details:
        if detail["type"] == "too_short" and detail["input"]:
            continue
        mark = str(next(filter(_is_mark, detail["loc"]), ""))
        is_list = isinstance(detail["input"], list | tuple) or not _is_mark(detail["loc"][-1])
        if not mark or mark.startswith("tuple[") == is_list:
            chosen.append(sentence(detail, root))
    return chosen


def _is_mark(part: Any) -> bool:
    """Whether a part of a location is pydantic's mark for the branch of a union of a word and a list."""
    return str(part).startswith(("literal[", "tuple["))


def _walk(location: tuple, root: type[BaseModel]) -> tuple[str, Any]:
    """The path of a problem as written in the file, and the type that stands there.

    pydantic puts marks of its own between: the tag of a union's branch, `[key]`, the name of a plain union's branch.
    """
    parts, model = [], root
    for part in location:
        if part == "[key]" or _is_mark(part):
            continue
        if part in _variants(model):
            model = _variants(model)[part]
            continue
        parts.append(str(part))
        model = _below(model, part)
    return ".".join(parts), model


def _bare(annotation: Any) -> Any:
    """A type without Annotated and `| None`."""
    while typing.get_origin(annotation) is typing.Annotated:
        annotation = typing.get_args(annotation)[0]
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        rest = [arg for arg in typing.get_args(annotation) if arg is not type(None)]
        return _bare(rest[0]) if len(rest) == 1 else annotation
    return annotation


def _below(annotation: Any, part: Any) -> Any:
    annotation = _bare(annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        field = annotation.model_fields.get(str(part))
        return _bare(field.annotation) if field else None
    arguments = typing.get_args(annotation)
    if typing.get_origin(annotation) is dict:
        return _bare(arguments[1])
    return _bare(arguments[0]) if typing.get_origin(annotation) is tuple else None


def _variants(annotation: Any) -> dict[str, Any]:
    """Branches of a union of sections by their `type`."""
    if typing.get_origin(annotation) not in (typing.Union, types.UnionType):
        return {}
    sections = [arg for arg in typing.get_args(annotation) if isinstance(arg, type) and issubclass(arg, BaseModel)]
    return {typing.get_args(section.model_fields["type"].annotation)[0]: section for section in sections}


def _keys(annotation: Any) -> list[str]:
    return list(annotation.model_fields) if isinstance(annotation, type) and issubclass(annotation, BaseModel) else []
