"""Which held-out rows a run answers."""

from __future__ import annotations

from typing import Any

import pandas

from tunebook.data.rows import opening


def heldout_rows(run: dict[str, Any], rows: pandas.DataFrame, known: set[str]) -> dict[str, list[dict[str, Any]]]:
    """Held-out rows by source. `heldout`: those to show, the first of the split or, where there are labels, of each label;
    `scored`: the first of the others, which the metrics of answers take in besides."""
    usable = rows[rows["row"].isin(known)]
    usable = usable[~usable.apply(opening, axis=1).duplicated()]
    count = run["generation"]["heldout_samples"]
    if run["dataset"]["labels"]:
        shown = pandas.concat([usable[usable["label"] == label].head(count) for label in run["dataset"]["labels"]])
    else:
        shown = usable.head(count)
    others = usable[~usable["row"].isin(shown["row"])].head(run["generation"]["scored_rows"])
    return {"heldout": shown.to_dict("records"), "scored": others.to_dict("records")}
