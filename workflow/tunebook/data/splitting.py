"""The split: train, validation and test, seeded, stratified by label, and never through a group of rows.

Rows that share their prompt are one group: a question whose second answer is held out would be half known.
"""

from __future__ import annotations

from typing import Any

import numpy

from tunebook.errors import TunebookError

SPLITS = ("train", "validation", "test")
LEFT_OUT = "left out"  # of training, where the split says so


def split_rows(
    groups: list[str], labels: list[str | None], split: dict[str, Any], given: list[str | None] | None = None
) -> numpy.ndarray:
    """Assign each row to a split. Returns names of splits, or "left out", shape (rows,).

    `groups`: rows with the same value stay together; `labels`: None throughout, or what to stratify by; `split`:
    `validation` and `test` as a share of the rows (below 1) or as a number, `train` as a share or number of the rest, or
    None for all of it, and `seed`; `given`: the splits that rows come with. What `train` says does not change the other
    splits. A held-out split that no row comes with is drawn from the rows of train and from those that come with none.
    Raises TunebookError if too few rows are left for any split.
    """
    given = given or [None] * len(groups)
    assigned = numpy.array([name or "train" for name in given], dtype=object)
    pool = numpy.flatnonzero(assigned == "train")
    generator = numpy.random.default_rng(split["seed"])
    wanted = {name: _share(split[name], len(pool)) for name in drawn_splits(given)}
    owed = dict.fromkeys(wanted, 0.0)  # rows; what one stratum cannot give, the next gives
    for members in _strata(pool, groups, labels) if wanted else ():
        stratum_rows = sum(map(len, members))
        owed = {name: owed[name] + share * stratum_rows for name, share in wanted.items()}
        order = generator.permutation(len(members))
        _fill(assigned, [members[index] for index in order], owed)
    if isinstance(split["train"], int | float):
        _leave_out(assigned, split["train"], generator)
    counts = {name: int((assigned == name).sum()) for name in SPLITS}
    if min(counts.values()) == 0:
        found = ", ".join(f"{count} {name}" for name, count in counts.items())
        raise TunebookError(
            f"the split of {len(groups)} rows leaves {found}; give more rows, or change split.validation and split.test"
        )
    return assigned


def drawn_splits(given: list[str | None]) -> tuple[str, ...]:
    """The held-out splits that no row comes with: they are drawn from train."""
    there = set(given)
    return tuple(name for name in ("test", "validation") if name not in there)


def _share(size: float, rows: int) -> float:
    return size if size < 1 else size / max(rows, 1)


def _strata(rows: numpy.ndarray, groups: list[str], labels: list[str | None]) -> list[list[list[int]]]:
    """Indices of these rows by group, groups by the label of their first row."""
    members: dict[str, list[int]] = {}
    for index in rows:
        members.setdefault(groups[index], []).append(index)
    strata: dict[str | None, list[list[int]]] = {}
    for indices in members.values():
        strata.setdefault(labels[indices[0]], []).append(indices)
    return [strata[label] for label in sorted(strata, key=str)]


def _leave_out(assigned: numpy.ndarray, wanted: float, generator: numpy.random.Generator) -> None:
    """Keep a share (below 1) or a number of the training rows, drawn without regard to labels or groups."""
    training = generator.permutation(numpy.flatnonzero(assigned == "train"))
    kept = round(wanted * len(training)) if wanted < 1 else int(wanted)
    if kept > len(training):
        raise TunebookError(
            f"split.train: found {kept}, but validation and test leave {len(training)} rows; ask for at most so many, or null"
        )
    assigned[training[kept:]] = LEFT_OUT


def _fill(assigned: numpy.ndarray, members: list[list[int]], owed: dict[str, float]) -> None:
    """Give a stratum's groups to test, then validation, where that brings them nearer to the rows they are owed.

    The rest stays with train. A group larger than what is owed twice over would overshoot by more than it mends.
    """
    for group in members:
        for name in owed:
            if len(group) < 2 * owed[name]:
                assigned[group] = name
                owed[name] -= len(group)
                break
