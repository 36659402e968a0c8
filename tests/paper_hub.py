"""What config/paper.yaml asks of the hub, small: models of the same architectures and rows in the same files and columns."""

from __future__ import annotations

import csv
import io
import json
import random
from pathlib import Path

import pandas
import yaml

from tests import tiny
from tests.hub_server import Hub

ROOT = Path(__file__).parents[1]
STUDY = yaml.safe_load((ROOT / "config" / "paper.yaml").read_text(encoding="utf-8"))
ROWS = 90
FAMILIES = {"flan-t5-large": "t5", "falcon-7b": "falcon", "opt-6.7b": "opt"}


def fill(hub: Hub, folder: Path) -> None:
    """Put every model and data set of the paper study on `hub`, under its id and revision."""
    for name, family in FAMILIES.items():
        tiny.model(folder / name, family)
    tiny.in_pickled_parts(folder / "opt-6.7b")  # as facebook/opt-6.7b is stored
    _name_code_of_its_own(folder / "falcon-7b")
    for name, model in STUDY["models"].items():
        hub.add_folder("model", model["source"]["id"], model["source"]["revision"], folder / name)
    files = {"phrasebank": _phrasebank(), "guanaco": _guanaco(), "medtext": _medtext(), "english-quotes": _quotes()}
    for name, dataset in STUDY["datasets"].items():
        commit = dataset["source"]["revision"].ljust(40, "0")
        hub.add("dataset", dataset["source"]["id"], commit, {"README.md": b"# rows\n", **files[name]})


def _name_code_of_its_own(folder: Path) -> None:
    """As tiiuae/falcon-7b: code beside the weights, and a config that names it."""
    config = folder / "config.json"
    named = {
        "AutoConfig": "configuration_falcon.FalconConfig",
        "AutoModelForCausalLM": "modeling_falcon.FalconForCausalLM",
    }
    config.write_text(json.dumps({**json.loads(config.read_text()), "auto_map": named}))
    for name in ("configuration_falcon.py", "modeling_falcon.py"):
        (folder / name).write_text("raise SystemExit\n")


def _sentences(words: int, seed: int) -> list[str]:
    """Rows of different words, mostly."""
    draw = random.Random(seed)
    return [" ".join(draw.choices(tiny.WORDS, k=words)) for _ in range(ROWS)]


def _phrasebank() -> dict[str, bytes]:
    rows = pandas.DataFrame({"text": _sentences(12, 1), "label": [number % 3 for number in range(ROWS)]})
    parts = {"train": rows[: ROWS // 2], "test": rows[ROWS // 2 :]}
    place = "sentences_allagree/{}-00000-of-00001.parquet"
    return {place.format(name): _parquet(part) for name, part in parts.items()} | {
        place.format("train").replace("allagree", "50agree"): b"not asked for"
    }


def _parquet(rows: pandas.DataFrame) -> bytes:
    buffer = io.BytesIO()
    rows.to_parquet(buffer, index=False)
    return buffer.getvalue()


def _guanaco() -> dict[str, bytes]:
    pairs = zip(_sentences(6, 2), _sentences(9, 3), strict=True)
    rows = [{"text": f"### Human: {question}?### Assistant: {answer}."} for question, answer in pairs]
    return {f"openassistant_best_replies_{part}.jsonl": _lines(rows) for part in ("train", "eval")}


def _medtext() -> dict[str, bytes]:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["Prompt", "Completion"])
    writer.writerows(zip(_sentences(10, 4), _sentences(10, 5), strict=True))
    return {"medtext_1.csv": b"not asked for", "medtext_2.csv": buffer.getvalue().encode()}


def _quotes() -> dict[str, bytes]:
    return {"quotes.jsonl": _lines([{"quote": each, "author": "x", "tags": []} for each in _sentences(9, 6)])}


def _lines(rows: list[dict]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()
