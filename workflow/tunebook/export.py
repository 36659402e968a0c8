"""Command `export`: a finished run as a model that other programs load, scored again as it was written. `tunebook export RUN`."""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy
import pandas
import torch

from tunebook.chosen_run import BASE, RUN_HELP, ChosenRun, choose_run
from tunebook.data.splits import in_blocks, read_split, read_tokens
from tunebook.deployment import TEMPLATES
from tunebook.digests import checked, digests_of
from tunebook.errors import TunebookError, escaped
from tunebook.finetuning import gguf_files, llama_cpp
from tunebook.finetuning.evaluation import evaluate, in_order, row_scores
from tunebook.finetuning.finished import SPLIT, intact_run
from tunebook.finetuning.generation import Answer, answer
from tunebook.finetuning.merging import merged_model
from tunebook.finetuning.modelfile import modelfile
from tunebook.finetuning.models import load_model
from tunebook.finetuning.sampling import questions_of
from tunebook.finetuning.tokenizers import load_tokenizer, publish_generation_config
from tunebook.records import read_json, write_json
from tunebook.reporting import typeset
from tunebook.statistics.paired import Scores, paired_difference
from tunebook.storage import folder_in_place

TEMPLATE = "export.md.j2"
OUTPUT = "exports"  # folder below the study's
TOLERANCE = 0.02  # nats a token; the config's default of smallest_relevant_difference


@dataclass(frozen=True)
class Check:
    """What a written file came to on the test rows, beside the run as it was scored.

    Losses are of the text, in nats a token; `difference`, `low`, `high`: exported less run, with its 95 % interval over rows;
    `largest`: of one row; `answers`: how many were compared, `same`: how many of them are letter by letter the same; `texts`: how
    many texts were tokenized by the other program too, `tokenized_alike`: how many came out the same.
    """

    file: str
    read_by: str
    rows: int
    text_loss: float
    run_text_loss: float
    difference: float
    low: float
    high: float
    largest: float
    answers: int
    same: int
    texts: int | None = None
    tokenized_alike: int | None = None


@dataclass(frozen=True)
class Own:
    """What the study measured of the run, and on which rows."""

    predictions: pandas.DataFrame
    samples: list[dict[str, Any]]
    tokens: list[dict[str, Any]]
    rows: pandas.DataFrame

    @classmethod
    def of(cls, chosen: ChosenRun) -> Own:
        chosen.require("predictions.parquet", "samples.json")
        tokens = read_tokens(chosen.tokens, SPLIT)
        rows = in_blocks(read_split(chosen.dataset, SPLIT), tokens)
        predictions = pandas.read_parquet(checked(chosen.folder / "predictions.parquet"))
        return cls(predictions, read_json(chosen.folder / "samples.json"), tokens, rows)

    def check(self, file: str, read_by: str, losses: Iterator[float], answers: list[Answer], **more: int) -> Check:
        """Hold an exported model's losses of the text, a value a row, and its answers against the run's."""
        own, weights = (self.predictions[name].to_numpy(dtype=float) for name in ("text_loss", "text_tokens"))
        theirs, whole = (
            numpy.array(list(losses)),
            weights > 0,
        )  # of a row that max_length cut, nothing of the text may be left
        theirs, own, weights = theirs[whole], own[whole], weights[whole]
        both = (Scores(values[None], seeded=False) for values in (theirs, own))
        found = paired_difference(*both, weights)
        means = [float(values @ weights / weights.sum()) for values in (theirs, own)]
        same = sum(given.text == kept["completion"] for given, kept in zip(answers, self.samples, strict=True))
        largest = float(numpy.abs(theirs - own).max())
        return Check(
            file, read_by, len(own), *means, found.mean, found.low, found.high, largest, len(answers), same, **more
        )


def write_model(run: dict[str, Any], chosen: ChosenRun, folder: Path) -> None:
    """Write the merged model, its tokenizer and its generation_config into `folder`, as transformers has them."""
    model = merged_model(run, chosen.model, chosen.adapter)
    model.save_pretrained(folder)
    for file in chosen.model.iterdir():
        if file.is_file() and not (folder / file.name).exists() and _is_tokenizers(file.name):
            shutil.copy(file, folder / file.name)
    publish_generation_config(folder, folder)


def _is_tokenizers(name: str) -> bool:
    return not name.startswith((".", "provenance")) and ".safetensors" not in name


def check_model(run: dict[str, Any], model: torch.nn.Module, tokenizer: Any, own: Own) -> Check:
    """Score what was written and read again on the test rows, and let it answer what the run was asked."""
    _, predictions = evaluate(run, model, tokenizer, own.tokens, own.rows)
    asked = questions_of(run, tokenizer, own.tokens, own.rows) if own.samples else []
    options = {key: run["generation"][key] for key in ("max_new_tokens", "batch_size")}
    answers = answer(model, [ids for ids, _ in asked], tokenizer, **options) if asked else []
    return own.check("model.safetensors", "transformers", iter(predictions["text_loss"]), answers)


def write_gguf(run: dict[str, Any], model: torch.nn.Module, tokenizer: Any, folder: Path, kind: str) -> str:
    """Write a model as GGUF, with a Modelfile for Ollama beside it. Returns the file's name."""
    file = f"model-{kind}.gguf"
    gguf_files.write_gguf(model, tokenizer, run["run"], kind, folder / file)
    text = modelfile(run, tokenizer, file, run["generation"]["max_new_tokens"])
    (folder / "Modelfile").write_text(text, encoding="utf-8")
    return file


def check_gguf(run: dict[str, Any], folder: Path, file: str, own: Own) -> Check:
    """The same as `check_model`, by llama.cpp."""
    tokenizer = load_tokenizer(folder)
    asked = questions_of(run, tokenizer, own.tokens, own.rows)
    new = run["generation"]["max_new_tokens"]
    longest = max(*(len(line["input_ids"]) for line in own.tokens), *(len(ids) + new for ids, _ in asked), 1)
    llama = llama_cpp.LlamaCpp(folder / file, longest)
    losses = [llama.losses(line) for line in own.tokens]
    scored = row_scores(run, own.tokens, losses, in_order(own.rows, own.tokens), tokenizer)
    ends = read_json(folder / "generation_config.json")["eos_token_id"]
    ends = ends if isinstance(ends, list) else [ends]
    answers = [llama.answer(ids, ends, tokenizer, new) for ids, _ in asked]
    texts = [tokenizer.decode(line["input_ids"]) for line in own.tokens]
    alike = sum(llama.ids(text) == tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts)
    told = {"texts": len(texts), "tokenized_alike": alike}
    return own.check(file, "llama.cpp", (one.text_mean for one in scored), answers, **told)


def _in_a_process_of_its_own(
    check: Callable[..., Check], run: dict[str, Any], folder: Path, file: str, own: Own
) -> Check:
    """llama.cpp ends the process where it meets an error of its own, such as instructions that the CPU does not run."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        try:
            return pool.submit(check, run, folder, file, own).result()
        except BrokenProcessPool:
            raise TunebookError(
                f"{file}: llama.cpp crashed when it read the file, and nothing was exported. Where it crashes on other GGUF files too, "
                "build it again without the instructions of this CPU: CMAKE_ARGS=-DGGML_NATIVE=OFF pip install --force-reinstall "
                "--no-cache-dir llama-cpp-python"
            ) from None


def refuse_other_model(check: Check, tolerance: float) -> None:
    """Raise TunebookError where a written file is not the run's model any more."""
    if check.tokenized_alike != check.texts:
        raise TunebookError(
            f"{check.file}: {check.read_by} makes other tokens of {check.texts - check.tokenized_alike} of {check.texts} test rows; nothing "
            "was exported"
        )
    if not abs(check.text_loss - check.run_text_loss) <= tolerance:  # a row that is no number makes both refuse
        raise TunebookError(
            f"{check.file}: its loss of the text is {check.text_loss:.4f} on the test rows, the run's is {check.run_text_loss:.4f}; the "
            f"difference of {check.difference:+.4f} is more than the tolerance of {tolerance:g} nats a token, and nothing was exported. "
            "Export another kind (--gguf f16), or say with --tolerance that so much is right"
        )


def _words(check: Check) -> str:
    limits = f"{typeset.number(check.low, 2)} to {typeset.number(check.high, 2)}"
    tokens = f"; {check.read_by} makes the same tokens of all {check.texts} rows" if check.texts else ""
    answers = f"; {check.same} of {check.answers} answers are the same" if check.answers else ""
    return (
        f"{check.file}, read by {check.read_by}: loss of the text {typeset.fixed(check.text_loss, 4)} on {check.rows} test rows, the run's "
        f"{typeset.fixed(check.run_text_loss, 4)}, difference {typeset.number(check.difference, 2)} (95 % interval {limits}), of one row at "
        f"most {typeset.number(check.largest, 2)}{answers}{tokens}"
    )


def card(run: dict[str, Any], chosen: ChosenRun, checks: list[Check], unread: str | None, templates: Path) -> str:
    """README.md of the export. `unread`: a file that was written and not read."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(templates),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"fixed": typeset.fixed, "number": typeset.number}
    study = read_json(chosen.study / "study.json")
    return escaped(
        environment.get_template(TEMPLATE).render(
            run=run,
            study=study,
            checks=checks,
            unread=unread,
            caution=study["datasets"][chosen.dataset.name]["caution"],
            has_card=(chosen.folder / "model_card.md").is_file(),
        )
    )


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help=RUN_HELP)
    parser.add_argument(
        "--gguf",
        choices=gguf_files.TYPES,
        help="write a GGUF file and an Ollama Modelfile, too; numbers of the matrices",
    )
    parser.add_argument(
        "--tolerance",
        type=float,
        default=TOLERANCE,
        help=f"largest difference in loss to the run, nats a token; {TOLERANCE} if not given",
    )
    parser.add_argument("--output", type=Path, help="folder to write; results/STUDY/exports/RUN if not given")
    parser.add_argument("--templates", type=Path, default=TEMPLATES, help=argparse.SUPPRESS)


def main(args: argparse.Namespace) -> None:
    chosen = choose_run(args.run)
    if chosen.method == BASE:
        raise TunebookError(f"{chosen.name}: the untouched model is in {chosen.model} as it is; export a finetuned run")
    own, run = Own.of(chosen), intact_run(chosen)
    if args.gguf:
        gguf_files.check_architecture(read_json(chosen.model / "config.json"), run["task"])
    output = args.output or chosen.study / OUTPUT / chosen.name
    unread = None
    with folder_in_place(output) as folder:
        write_model(run, chosen, folder)
        gc.collect()
        model, tokenizer = load_model(run | {"quantization": None}, folder).eval(), load_tokenizer(folder)
        checks = [check_model(run, model, tokenizer, own)]
        refuse_other_model(checks[0], args.tolerance)
        print(_words(checks[0]), flush=True)
        if args.gguf:
            file = write_gguf(run, model, tokenizer, folder, args.gguf)
            if llama_cpp.is_installed():
                checks.append(_in_a_process_of_its_own(check_gguf, run, folder, file, own))
                refuse_other_model(checks[-1], args.tolerance)
                print(_words(checks[-1]), flush=True)
            else:
                unread = file
                print(f"{file} was written and NOT checked: install llama-cpp-python, then export again", flush=True)
        if (chosen.folder / "model_card.md").is_file():
            shutil.copy(chosen.folder / "model_card.md", folder / "model_card.md")
        (folder / "README.md").write_text(card(run, chosen, checks, unread, args.templates), encoding="utf-8")
        record = {
            "run": run["run"],
            "identity": run["identity"],
            "tolerance": args.tolerance,
            "checks": [asdict(one) for one in checks],
        }
        write_json(folder / "export.json", record | {"digests": digests_of(folder)})
    print(f"exported: {output}", flush=True)
