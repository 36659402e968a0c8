"""The one kind of error that a user meets: a message without a traceback."""


class TunebookError(Exception):
    """Something the user can mend: the message says what was found, what is allowed and what to do."""

    def __str__(self) -> str:
        return printable(super().__str__())


def printable(text: str) -> str:
    """The text as a terminal may show it. Messages quote data and configs, which may hold characters that move the cursor,
    colour what follows or turn the direction of writing: those come as escapes (`\\x1b`), but for line breaks and tabs."""
    return "".join(letter if letter.isprintable() or letter in "\n\t" else ascii(letter).strip("'") for letter in text)
