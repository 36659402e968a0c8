"""Text of a file: bytes in the declared encoding. A wrong encoding is an error that suggests others."""

from __future__ import annotations

import codecs

from tunebook.data.raw import SHOWN
from tunebook.errors import TunebookError

MARKS = {  # byte order marks, the longer first -> the encoding they stand for
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
    codecs.BOM_UTF8: "utf-8",
}
SUGGESTIONS = 3  # encodings to suggest, at most
SAMPLE_BYTES = 100_000  # around the byte that does not fit: what an encoding is guessed from


def decoded(name: str, data: bytes, encoding: str) -> str:
    """The text of a file without a byte order mark; line ends become \\n. `name`: the file's, for messages.

    Raises TunebookError if the bytes are not in the encoding: with the line, and with encodings in which they would be.
    """
    declared = codecs.lookup(encoding).name
    marked = next((name for mark, name in MARKS.items() if data.startswith(mark)), declared)
    if not declared.startswith(marked):
        raise TunebookError(
            f"{name}: begins with the byte order mark of {marked}, declared is {encoding}; declare format.encoding: {marked}"
        )
    try:
        text = data.decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise TunebookError(
            f"{name}, row {line}: byte {data[error.start : error.start + 1]!r} is not {encoding}; declare the file's "
            f"encoding under format.encoding{_suggestions(data, error.start)}"
        ) from None
    except UnicodeError as error:
        raise TunebookError(f"{name}: not {encoding} ({error}); declare the file's encoding") from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _suggestions(data: bytes, at: int) -> str:
    """Encodings that the file may be in, each with the text around byte `at` as it reads in it."""
    import charset_normalizer  # only here: most files are in the declared encoding

    start, end = data.rfind(b"\n", 0, at) + 1, data.find(b"\n", at)
    line = data[start : end if end >= 0 else None]
    sample = data[max(0, at - SAMPLE_BYTES // 2) : at + SAMPLE_BYTES // 2]
    guessed = [match.encoding for match in charset_normalizer.from_bytes(sample)]
    readings: dict[str, str] = {}  # text -> the encoding in which the line reads so
    for encoding in (
        "cp1252",
        *guessed,
    ):  # a guess from few bytes can be far off; cp1252 is what most such files are in
        try:
            text, place = line.decode(encoding), len(line[: at - start].decode(encoding))
        except (UnicodeError, LookupError):
            continue
        readings.setdefault(text[max(0, place - SHOWN // 2) : place + SHOWN // 2].strip(), encoding)
    if not readings:
        return ""
    shown = ", or ".join(f"{encoding}: {text!r}" for text, encoding in list(readings.items())[:SUGGESTIONS])
    return f"; the line would read, in {shown}"
