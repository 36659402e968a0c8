"""The one kind of error that a user meets: a message without a traceback."""


class TunebookError(Exception):
    """Something the user can mend: the message says what was found, what is allowed and what to do."""
