"""Numbers as a reader meets them: three significant digits, thin spaces, units. Full precision stays in the CSV files."""

from __future__ import annotations

import json
import math
import re
from decimal import Decimal
from typing import Any

from tunebook.errors import escaped

THIN = "\u202f"  # narrow no-break space: groups digits and stands before units
MINUS = "\u2212"
ABSENT = "–"  # nothing was measured
NUMBER = "\ue000"  # a sign that no text holds: marks numbers while JSON is written


def number(value: float | None, digits: int = 3) -> str:
    """A number with `digits` significant digits; integers of more digits are kept whole and grouped."""
    if value is None or not math.isfinite(value):
        return ABSENT if value is None or math.isnan(value) else f"{MINUS if value < 0 else ''}∞"
    if value == 0:
        return "0"
    exponent = math.floor(math.log10(abs(float(f"{value:.{digits - 1}e}"))))
    if exponent < -4:
        mantissa = f"{value / 10**exponent:.{digits - 1}f}".replace("-", MINUS)
        power = str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
        return f"{mantissa}{THIN}×{THIN}10{power}"
    decimals = max(0, digits - 1 - exponent)
    return f"{value:,.{decimals}f}".replace(",", THIN).replace("-", MINUS)


def fixed(value: float | None, decimals: int = 3) -> str:
    """A number with a fixed count of decimals, so that a column of losses lines up."""
    if value is None or not math.isfinite(value):
        return number(value)
    if abs(value) >= 1000:
        return number(value)
    return f"{value:.{decimals}f}".replace("-", MINUS)


def score(value: float | None) -> str:
    """A metric: three decimals below 1, so that shares line up; three significant digits above."""
    return fixed(value, 3) if value is not None and abs(value) < 1 else number(value)


def plain(value: float | None) -> str:
    """A number that a person chose, as short as it was written: 0.001, 16, 1.5."""
    return ABSENT if value is None else exact(float(f"{value:.4g}")).replace("-", MINUS)


def exact(value: float) -> str:
    """A number that a person chose, with all its digits and no exponent: 3, 0.00005."""
    return format(Decimal(repr(value)).normalize(), "f")


def json_text(value: Any, indent: int | None = 2) -> str:
    """JSON for people: numbers as `exact` writes them, 3 for 3.0."""
    text = json.dumps(_marked(value), indent=indent, ensure_ascii=False)
    return re.sub(f'"{NUMBER}([^"]*)"', r"\1", text)


def _marked(value: Any) -> Any:
    """Numbers with a fraction, even of nothing, as marked strings, for json writes them its own way."""
    if isinstance(value, dict):
        return {key: _marked(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_marked(item) for item in value]
    return f"{NUMBER}{exact(value)}" if isinstance(value, float) else value


def signed(value: float | None, decimals: int = 3) -> str:
    """Like `fixed`, with a plus sign before gains."""
    text = fixed(value, decimals)
    return f"+{text}" if value is not None and value > 0 else text


def integer(value: float | None) -> str:
    """A count with its thousands apart."""
    return ABSENT if value is None or math.isnan(value) else f"{value:,.0f}".replace(",", THIN).replace("-", MINUS)


def percent(share: float | None, digits: int = 3) -> str:
    """A share of 1 as a percentage."""
    if share is None or math.isnan(share):
        return ABSENT
    return f"{number(100 * share, digits)}{THIN}%"


def _scaled(value: float | None, units: tuple[tuple[float, str], ...], least: float, unit: str = "") -> str:
    """A number in the largest unit that it fills; below `least` as a whole number of `unit`."""
    if value is None or math.isnan(value):
        return ABSENT
    for scale, name in units:
        if abs(value) >= max(0.9995 * scale, least):
            return f"{number(value / scale)}{THIN}{name}"
    return f"{integer(value)}{THIN}{unit}" if unit else integer(value)


def count(value: float | None) -> str:
    """A large count, shortened: 134.5 million -> 135 M; below 10 000 it stays whole."""
    return _scaled(value, ((1e9, "B"), (1e6, "M"), (1e3, "k")), least=10_000)


def size(value_bytes: float | None) -> str:
    """Bytes in decimal units: 1 GB = 1 000 MB = 1 000 000 000 bytes."""
    return _scaled(value_bytes, ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")), least=1000, unit="B")


def duration(value_s: float | None) -> str:
    """Seconds as 8.4 s, 3 min 12 s or 2 h 08 min."""
    if value_s is None or math.isnan(value_s):
        return ABSENT
    if value_s < 59.5:
        return f"{number(value_s)}{THIN}s" if value_s >= 1 else f"{number(value_s, 2)}{THIN}s"
    minutes, seconds = divmod(round(value_s), 60)
    if minutes < 60:
        return f"{minutes}{THIN}min\u00a0{seconds:02d}{THIN}s"
    hours, minutes = divmod(round(value_s / 60), 60)
    return f"{hours}{THIN}h\u00a0{minutes:02d}{THIN}min"


def interval(low: float | None, high: float | None, decimals: int = 3) -> str:
    """A 95 % interval: 0.912 to 0.951."""
    return "" if low is None or high is None else f"{fixed(low, decimals)} to {fixed(high, decimals)}"


def listed(names: list[str], last: str = "and") -> str:
    """Names as a sentence lists them: a, b and c."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} {last} {names[-1]}" if names else ""


def visible(text: str | None) -> str:
    """Text that a model wrote, made safe to show: control characters become their visible escapes.

    Line feeds and tabs stay; a null byte becomes \\x00, in letters that every font has; half a surrogate pair becomes the
    replacement character.
    """
    return "".join("\ufffd" if 0xD800 <= ord(sign) <= 0xDFFF else sign for sign in escaped(text or ""))
