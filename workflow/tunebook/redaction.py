"""Secrets of the environment, and text without them. No message and no record may hold one, whoever said it."""

from __future__ import annotations

import os
import re
from urllib.parse import unquote, urlsplit

TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
HIDDEN = "(a secret)"
USER = re.compile(r"(?<=://)[^/\s@'\"]+@")  # what stands before the host of an address: user:password@


def redacted(text: str) -> str:
    """The text without tokens, passwords, and the user part of any address."""
    text = USER.sub(f"{HIDDEN}@", text)
    for secret in sorted(_secrets(), key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    return text


def without_user(address: str) -> str:
    """An address without its user part, so that it can be shown and opened."""
    return USER.sub("", address)


def _secrets() -> set[str]:
    """Every way in which a secret of the environment may stand in a message: as it is, as an escape, line by line."""
    values = [os.environ.get(name, "") for name in TOKENS]
    for value in os.environ.values():
        if "://" in value and "@" in value:
            values += _passwords(value)
    forms = {form for value in values for form in (value, value.strip(), repr(value)[1:-1], " ".join(value.split()))}
    forms |= {part for value in values for part in value.split()}  # a message may be wrapped, or end at a line break
    return {form for form in forms if len(form) > 3}


def _passwords(addresses: str) -> list[str]:
    """Passwords in the addresses of a variable, as written and decoded."""
    found = []
    for address in addresses.split():
        try:
            password = urlsplit(address).password
        except ValueError:
            continue
        found += [password, unquote(password)] if password else []
    return found
