"""Command `chat`: talk to finished runs in the terminal, beside the untouched model. `tunebook chat RUN [RUN ...]`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence

from tunebook.chosen_run import BASE, RUN_HELP, ChosenRun, choose_run
from tunebook.errors import TunebookError, printable
from tunebook.finetuning.finished import load_run
from tunebook.finetuning.speaker import Speaker
from tunebook.records import read_json

HELP = "an empty line or /quit ends, /clear forgets what was said"
CLEAR, QUIT = "/clear", "/quit"


def speakers_of(told: Sequence[str], *, base: bool, max_new_tokens: int | None, remember: bool | None) -> list[Speaker]:
    """Load the models that a person names, the untouched one of each experiment before its runs.

    `remember`: whether a question is asked with what was said before; None: as the rows were that the model was trained on.
    """
    chosen: dict[ChosenRun, None] = {}
    for run in map(choose_run, told):
        chosen |= dict.fromkeys(([run.untouched()] if base else []) + [run])
    return [_speaker(run, len(told), max_new_tokens, remember) for run in chosen]


def _speaker(chosen: ChosenRun, told: int, max_new_tokens: int | None, remember: bool | None) -> Speaker:
    run, model, tokenizer = load_run(chosen)
    limit = max_new_tokens or run["generation"]["max_new_tokens"]
    talks = run["task"] == "causal-lm" and run["dataset"]["text"] is None
    remembers = talks and (run["dataset"]["messages"] is not None if remember is None else remember)
    name = "untouched model" if chosen.method == BASE else chosen.method
    return Speaker(f"{chosen.experiment}: {name}" if told > 1 else name, run, model, tokenizer, limit, remembers)


def cautions_of(told: Iterable[str]) -> list[str]:
    """What the studies say of their data: that no answer is medical advice, for example."""
    found = []
    for run in map(choose_run, told):
        study = read_json(run.study / "study.json")
        found.append(study["datasets"][run.dataset.name]["caution"])
    return list(dict.fromkeys(text for text in found if text))


def how_asked(speakers: Sequence[Speaker]) -> str:
    """Whether the models know what was said before."""
    if all(speaker.remembers for speaker in speakers):
        return "Each model is asked with what was said before."
    if not any(speaker.remembers for speaker in speakers):
        return "Each question is asked alone, without what was said before."
    return f"Asked with what was said before: {', '.join(each.name for each in speakers if each.remembers)}; the others, each question alone."


def talk(speakers: Sequence[Speaker], lines: Iterable[str]) -> None:
    """Print each model's answer to each line."""
    for line in lines:
        text = line.strip()
        if text in ("", QUIT):
            return
        if text == CLEAR:
            for speaker in speakers:
                speaker.history = []
            print("forgotten", flush=True)
            continue
        for speaker in speakers:
            print(f"{speaker.name}: ", end="", flush=True)
            try:
                answer = speaker.reply(text, lambda piece: print(printable(piece), end="", flush=True))
                print("" if answer.stopped else " [cut: --max-new-tokens]", flush=True)
            except TunebookError as error:
                print(f"[{error}]", flush=True)


def _typed() -> Iterable[str]:
    """What a person types, or the lines of a file that is put in."""
    if not sys.stdin.isatty():
        yield from sys.stdin
        return
    import readline  # noqa: F401 - input() then has a history and can be edited

    while True:
        try:
            yield input("> ")
        except EOFError:
            print()
            return


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", nargs="+", metavar="RUN", help=RUN_HELP)
    parser.add_argument("--no-base", action="store_true", help="leave out the untouched model: half of the memory")
    parser.add_argument("--max-new-tokens", type=int, metavar="N", help="longest answer; as in the study if not given")
    parser.add_argument(
        "--history",
        action=argparse.BooleanOptionalAction,
        help="ask with what was said before, or each question alone; as the training data are if not given",
    )


def main(args: argparse.Namespace) -> None:
    if args.max_new_tokens is not None and args.max_new_tokens < 1:
        raise TunebookError(f"--max-new-tokens: found {args.max_new_tokens}; give a number of tokens from 1")
    cautions = cautions_of(args.runs)
    speakers = speakers_of(args.runs, base=not args.no_base, max_new_tokens=args.max_new_tokens, remember=args.history)
    for line in (*cautions, f"Greedy decoding, as in the report. {how_asked(speakers)} Here {HELP}."):
        print(printable(line), flush=True)
    talk(speakers, _typed())
