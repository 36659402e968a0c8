"""A history as a TensorBoard event file, written with tensorboard's own records: no torch, no TensorFlow."""

from __future__ import annotations

import math
from pathlib import Path

import pandas
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from tunebook.records import write_with
from tunebook.storage import folder_in_place

NAME = "events.out.tfevents.0.tunebook"  # TensorBoard looks for "tfevents"; the same name for the same run
COLUMNS = ("loss", "learning_rate", "grad_norm")


def write_events(history: pandas.DataFrame, folder: Path) -> Path:
    """Write history.csv as scalars named {split}/{column} by step into a fresh folder. Returns the file.

    The time of an event is its training time in seconds: records hold no clock, so that equal runs give equal files.
    """
    with folder_in_place(folder) as partial:
        write_with(partial / NAME, lambda file: _write(history, file))
    return folder / NAME


def _write(history: pandas.DataFrame, file: Path) -> None:
    with file.open("wb") as handle:
        writer = RecordWriter(handle)
        writer.write(Event(wall_time=0.0, file_version="brain.Event:2").SerializeToString())
        for line in history.to_dict("records"):
            writer.write(_event(line).SerializeToString())
        writer.flush()


def _event(line: dict[str, float]) -> Event:
    values = [
        Summary.Value(tag=f"{line['split']}/{name}", simple_value=float(line[name]))
        for name in COLUMNS
        if not math.isnan(line[name])
    ]
    wall_s = 0.0 if math.isnan(line["wall_s"]) else line["wall_s"]
    return Event(wall_time=wall_s, step=int(line["step"]), summary=Summary(value=values))
