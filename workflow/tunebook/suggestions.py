"""What a mistyped name was probably meant to be."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

ALIKE = 0.5  # difflib's ratio, of 1: from here on a name is worth proposing


def nearest(word: object, allowed: Iterable[object], cutoff: float = ALIKE) -> str:
    """`; did you mean X?` if a name is near enough, else nothing. Args: cutoff: difflib's ratio, of 1."""
    found = difflib.get_close_matches(str(word), [str(name) for name in allowed], n=1, cutoff=cutoff)
    return f"; did you mean {found[0]}?" if found else ""
