"""Jinja templates of a data set: functions of their row and of nothing else, within a budget of time and memory.

Compiling a template computes nothing: Jinja would fold `7 ** (10 ** 8)` then and not come back.
"""

from __future__ import annotations

import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.meta import TrackingCodeGenerator
from jinja2.sandbox import ImmutableSandboxedEnvironment

FUNCTIONS = ("range", "dict", "namespace")  # of Jinja's own, those that give the same for the same arguments
DRAWING_FILTERS = ("random",)
PLAIN = (str, int, float, list, tuple, dict, type(None), jinja2.Undefined)  # what is written the same way each time
MOST_BITS = (
    100_000  # of an integer: larger ones take seconds to multiply, and Python writes none of more than 4300 digits
)
ROW_SECONDS = 5
ROW_BYTES = 1 << 30
COMPUTING = (nodes.For, nodes.Call, nodes.Filter, nodes.BinExpr, nodes.Macro)  # what may take long, or much memory


class TooCostly(Exception):
    """Filling a template for one row took more time or memory than any row needs."""


class RowTemplates(ImmutableSandboxedEnvironment):
    """The environment that templates are compiled and filled in: Jinja's sandbox, without what draws or counts."""

    intercepted_binops = frozenset({"**", "*"})

    def __init__(self) -> None:
        super().__init__(
            undefined=jinja2.StrictUndefined, keep_trailing_newline=True, optimized=False, finalize=_written
        )
        self.globals = {name: self.globals[name] for name in FUNCTIONS}
        for name in DRAWING_FILTERS:
            del self.filters[name]

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """`*` and `**`, refused where the result would be a number that no row needs."""
        if isinstance(left, int) and isinstance(right, int):
            bits = left.bit_length() * max(right, 0) if operator == "**" else left.bit_length() + right.bit_length()
            if bits > MOST_BITS:
                raise TooCostly(f"a number of {bits} bits")
        return super().call_binop(context, operator, left, right)

    def fill(self, template: jinja2.Template, values: dict[str, Any], *, limited: bool) -> str:
        """Fill a template with a row. `limited`: whether it computes anything, see `computes`. Raises TooCostly."""
        if not limited:
            return template.render(values)
        with _limits():
            try:
                return template.render(values)
            except MemoryError:
                raise TooCostly(f"more than {ROW_BYTES >> 20} MiB of memory for one row") from None


@jinja2.pass_context  # a function of the context is not called while a template is compiled
def _written(context: Any, value: Any) -> Any:
    if not isinstance(value, PLAIN):
        raise jinja2.TemplateRuntimeError(
            f"it writes a {type(value).__name__}, which is no text; is a |list, a |join or a () missing?"
        )
    return value


def names_of(tree: nodes.Template) -> set[str]:
    """Names that a template wants from its row. As jinja2.meta finds them, but without computing constants."""
    finder = TrackingCodeGenerator(tree.environment)
    finder.optimizer = None
    finder.visit(tree)
    return finder.undeclared_identifiers


def computes(tree: nodes.Template) -> bool:
    """Whether a template does more than write columns."""
    return next(tree.find_all(COMPUTING), None) is not None


def impurities(tree: nodes.Template) -> Iterator[str]:
    """What a template has that would make other text of the same row another time."""
    drawing = {node.name for node in tree.find_all(nodes.Filter)} & set(DRAWING_FILTERS)
    yield from (f"the filter {name}, which draws anew each time" for name in sorted(drawing))
    if drawing:
        return
    foreign = names_of(tree) - set(FUNCTIONS)
    for node in tree.find_all(nodes.Call):
        if isinstance(node.node, nodes.Name) and node.node.name in foreign:
            yield f"{node.node.name}(), which is no function of templates here; there are: {', '.join(FUNCTIONS)}"


@contextmanager
def _limits() -> Iterator[None]:
    """Limit the time, and the memory that is taken anew, of what runs inside. Needs the main thread, as signals do."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    statm = Path("/proc/self/statm")
    if statm.exists():
        pages = int(statm.read_text(encoding="ascii").split()[0])
        most = pages * resource.getpagesize() + ROW_BYTES
        most = most if before[0] == resource.RLIM_INFINITY else min(most, before[0])
        resource.setrlimit(resource.RLIMIT_AS, (most, before[1]))
    handler = signal.signal(signal.SIGALRM, _too_slow)
    signal.setitimer(signal.ITIMER_REAL, ROW_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        resource.setrlimit(resource.RLIMIT_AS, before)


def _too_slow(number: int, frame: Any) -> None:
    raise TooCostly(f"more than {ROW_SECONDS} s for one row")
