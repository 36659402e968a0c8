"""Light starts: what a stage's process does not import.

transformers, peft and accelerate import what is installed, needed or not. For a tokenizer transformers imports torch and all
that its models need; peft imports bitsandbytes, which imports torch's compiler. Together that takes more CPU time than many a
stage's own work.
"""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

LEFT_OUT = {  # stage -> installed packages that libraries would import, and that the stage does not need
    "tokenize": ("torch", "datasets", "scipy", "sklearn"),
    "train": ("datasets",),  # Trainer imports it for a type check
    "evaluate": ("datasets",),
    "sample": ("datasets",),
    "chat": ("datasets",),
    "score": ("datasets",),
    "export": ("datasets",),
}


def leave_out(packages: tuple[str, ...]) -> None:
    """Let this process do as if `packages` were not installed. Those that it has imported already stay.

    Python raises ModuleNotFoundError for a name that is None in sys.modules, and importlib.util.find_spec does not find it:
    libraries that ask whether a package is there are told no. This holds for the whole process, so only the command line
    calls it, before it imports the stage that it runs.
    """
    for name in packages:
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]
    if "torch" in packages:
        os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # else transformers warns that it has no torch


@contextlib.contextmanager
def compiled_when_called() -> Iterator[None]:
    """Within this block, a function that is decorated with `torch.compile` is compiled at its first call.

    torch.compile compiles at the first call anyway, but imports its compiler when it decorates: a second, even where no
    decorated function is ever called.
    """
    import torch

    compile_now = torch.compile

    def compile_later(function: Callable[..., Any] | None = None, **options: Any) -> Any:
        if function is None:
            return functools.partial(compile_later, **options)
        compiled = functools.cache(lambda: compile_now(function, **options))

        @functools.wraps(function)
        def call(*arguments: Any, **keywords: Any) -> Any:
            return compiled()(*arguments, **keywords)

        return call

    torch.compile = compile_later
    try:
        yield
    finally:
        torch.compile = compile_now
