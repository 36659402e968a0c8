"""The command line: `python -m tunebook STAGE ...`. Each stage module has `arguments` and `main`."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import sys
import traceback

from tunebook.deployment import check_copy
from tunebook.errors import TunebookError, explained
from tunebook.imports import LEFT_OUT, leave_out
from tunebook.records import disk_is_full
from tunebook.redaction import redacted

DESCRIPTION = (
    "Run one stage of a study by itself. Snakemake (`run`) runs all of them in order; `snakemake -n -p -f FILE` shows the "
    "command that makes a file."
)
STAGES = {
    "run": "run a study: every stage that is missing or out of date, by Snakemake",
    "new": "look at a file of rows and write a study for it",
    "check": "validate a config file",
    "resolve": "write a study's resolved config and every run's spec",
    "estimate": "say what each run of a study will hold in memory, and whether it fits",
    "trace": "record the forward passes of a study's models, which estimates are made from",
    "rehearse": "train each run for a few steps with random weights, and measure",
    "fetch-model": "fetch a pretrained model and keep it as safetensors with its tokenizer",
    "fetch-dataset": "fetch a data set and keep its rows as Parquet",
    "prepare": "clean, deduplicate and split a data set",
    "tokenize": "turn an experiment's rows into token ids and labels",
    "train": "train one run, or resume it",
    "select": "choose the values of a method's search by validation loss",
    "adopt": "take the chosen trial of a search for the method's run",
    "evaluate": "score one run on held-out rows",
    "sample": "let one run answer the experiment's prompts",
    "baseline": "score simple baselines of an experiment with labels or prompts",
    "tables": "collect a study's records in CSV tables",
    "figures": "draw an experiment's figures",
    "cards": "write a model card and TensorBoard events beside each adapter",
    "report": "bind everything into one HTML file",
    "show": "print a finished run's losses, metrics and answers",
    "chat": "talk to finished runs, beside the untouched model",
    "score": "score finished runs on the rows of another file",
    "export": "merge a finished run into a model that other programs load, and score it as it was written",
    "verify": "say which published files are not as they were published",
    "schema": "print the config's JSON schema",
}


def main(argv: list[str] | None = None, *, own_process: bool = False) -> int:
    """Run one stage. Returns the exit status: 0 done, 2 an error of the user's, 130 interrupted, 141 nobody reads.

    `own_process`: nothing else runs in this process, so that it may leave out packages that the stage does not need.
    """
    argv = sys.argv[1:] if argv is None else argv
    try:
        check_copy(os.environ)
    except TunebookError as error:
        _tell(f"tunebook: {error}")
        return 2
    argv, options = _parted(argv) if argv[:1] == ["run"] else (argv, [])
    parser = argparse.ArgumentParser(prog="python -m tunebook", description=DESCRIPTION)
    stages = parser.add_subparsers(dest="stage", required=True, metavar="STAGE")
    for name, purpose in STAGES.items():
        stage_parser = stages.add_parser(name, help=purpose, description=purpose)
        if argv[:1] == [name]:  # only the stage that is asked for is imported: the others may import torch
            if own_process:
                leave_out(LEFT_OUT.get(name, ()))
            stage = importlib.import_module(f"tunebook.{name.replace('-', '_')}")
            stage.arguments(stage_parser)
        stage_parser.add_argument("--debug", action="store_true", help="print the traceback of an error, too")
    args = parser.parse_args(argv)
    args.options = options
    try:
        stage.main(args)
    except KeyboardInterrupt:
        print(f"tunebook {args.stage}: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # whoever read the output has stopped, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141  # 128 + SIGPIPE, as shells have it
    except Exception as error:
        if args.debug:
            print(redacted("".join(traceback.format_exception(error))), file=sys.stderr)
        _tell(f"tunebook {args.stage}: {redacted(_words(error))}")
        return 2
    return 0


def _words(error: Exception) -> str:
    if isinstance(error, TunebookError):
        return str(error)
    if disk_is_full(error):
        where = f" ({error.filename})" if getattr(error, "filename", None) else ""
        return f"no space left{where}; nothing is half written: free some space and run again"
    return explained(error)


def _parted(argv: list[str]) -> tuple[list[str], list[str]]:
    """Our own arguments, and Snakemake's, which stand after `--`."""
    at = argv.index("--") if "--" in argv else len(argv)
    return argv[:at], argv[at + 1 :]


def _tell(problem: str) -> None:
    """Say what is wrong on stderr; on stdout, too, where the two part: a rule keeps stderr in its log, and people see stdout."""
    print(problem, file=sys.stderr, flush=True)
    with contextlib.suppress(OSError, ValueError):  # not a file, as in tests
        if not os.path.samestat(os.fstat(sys.stdout.fileno()), os.fstat(sys.stderr.fileno())):
            print(problem, flush=True)


if __name__ == "__main__":
    sys.exit(main(own_process=True))
