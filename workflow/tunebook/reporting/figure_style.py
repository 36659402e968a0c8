"""How all figures look, and how they are written: the same records give the same bytes.

What a colour tells is also told by a line style, a marker or a place.
"""

from __future__ import annotations

import io
import math
import re
from pathlib import Path

import matplotlib

matplotlib.use("svg")  # no display is needed, and none is looked for

import matplotlib.pyplot as plt
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from tunebook.records import write_text
from tunebook.reporting.palette import GRID, INK, QUIET, SERIES

MARKERS = ("o", "s", "D", "^", "v", "P")
NARROW_IN, WIDE_IN = 4.5, 6.6  # inches: one column of panels, two columns of panels
FONTS = "-apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, 'Liberation Sans', system-ui, sans-serif"

TELLS = "tells"  # begins the group id of a curve that says its values
BELONGS = "belongs"  # begins the group id of what a reader shows and hides along with a curve
LINES = ("-", "--", ":")

STYLE = {
    "svg.fonttype": "none",  # real text: small, searchable; measured in DejaVu Sans, which is wider than what is shown
    "svg.hashsalt": "tunebook",
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9.0,
    "axes.labelcolor": INK,
    "axes.edgecolor": QUIET,
    "axes.linewidth": 0.7,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "text.color": INK,
    "text.parse_math": False,  # labels and titles are other people's: a dollar sign is a dollar sign
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "xtick.major.size": 3.0,
    "ytick.major.size": 0.0,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "lines.linewidth": 1.8,
}


def panels(count: int, panel_height_in: float, columns: int | None = None, **options) -> tuple[Figure, list[Axes]]:
    """A figure of `count` panels in one or two columns; places left over are removed. Returns the axes in order."""
    columns = columns or min(2, count)
    rows = -(-count // columns)
    size = (NARROW_IN if columns == 1 else WIDE_IN, rows * panel_height_in)
    figure, grid = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained", **options)
    axes = list(grid.flat)
    for spare in axes[count:]:
        spare.remove()
    return figure, axes[:count]


def look(place: int) -> tuple[str, str, str]:
    """(colour, marker, line style) of the method at this place of a figure: no two alike among the first eighteen."""
    around = place // len(SERIES)
    return SERIES[place % len(SERIES)], MARKERS[(place + around) % len(MARKERS)], LINES[around % len(LINES)]


def save_svg(figure: Figure, path: Path) -> None:
    """Write a figure as SVG without date or machine, coordinates rounded to a hundredth of a point."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": "tunebook"})
    plt.close(figure)
    write_text(path, slim(with_values(figure, buffer.getvalue())))


def tells(line: Line2D, name: str, epochs_per_step: float, factor: float = 1.0) -> None:
    """Let a curve over optimizer steps say its values under the pointer (report/curves.js): what is drawn, times `factor`."""
    line.set_gid(f"{TELLS}|{name}|{epochs_per_step:.6g}|{factor:g}")


def belongs(artist: Artist, method: str) -> None:
    """Mark what a reader shows and hides along with a method's curve (report/curves.js)."""
    artist.set_gid(f"{BELONGS}|{method}")


def with_values(figure: Figure, svg: str) -> str:
    """Give each curve that `tells` what a script needs to read values off its path: panel, and the axes' linear maps.

    A point (step, value) of panel P is drawn at x = a step + b, y = c value + d, in points: data-map="a b c d"; on a
    logarithmic axis, data-log="10", `value` is its logarithm.
    """
    width, height = (72 * side for side in figure.get_size_inches())
    for panel, axis in enumerate(figure.axes):
        (left, right), (low, high), box = axis.get_xlim(), axis.get_ylim(), axis.get_position()
        log = axis.get_yscale() == "log"
        if log:
            low, high = math.log10(low), math.log10(high)
        a, c = box.width * width / (right - left), -box.height * height / (high - low)
        b, d = box.x0 * width - a * left, height - box.y0 * height - c * low
        for line in axis.lines:
            if (gid := line.get_gid()) and gid.startswith(f"{TELLS}|"):
                _, name, epochs, factor = gid.split("|")
                told = {"curve": name, "panel": panel, "map": f"{a:.6g} {b:.6g} {c:.6g} {d:.6g}"}
                told |= {"epochs": epochs, "factor": factor} | ({"log": "10"} if log else {})
                attributes = " ".join(f'data-{key}="{value}"' for key, value in told.items())
                svg = svg.replace(f'<g id="{gid}">', f"<g {attributes}>", 1)
    return re.sub(rf'<g id="{BELONGS}\|([^"]*)">', rf'<g data-{BELONGS}="\1">', svg)


def slim(svg: str) -> str:
    """Round path coordinates to 0.01 pt and let the reader's own sans-serif font stand for the one measured with."""
    svg = re.sub(r'(?<= d=")[^"]*', lambda match: re.sub(r"-?\d+\.\d+", _rounded, match[0]), svg)
    svg = re.sub(r'(?<=\b[xy]=")-?\d+\.\d+', _rounded, svg)
    return re.sub(r"(font(?:-family)?: [^;\"]*?)'DejaVu Sans'[^;\"]*", rf"\g<1>{FONTS}", svg)


def _rounded(match: re.Match[str]) -> str:
    return f"{float(match[0]):.2f}".rstrip("0").rstrip(".")


def thin(length: int, most: int = 300) -> slice:
    """A stride that leaves at most about `most` of `length` points: more cannot be seen, and make the file heavy."""
    return slice(None, None, max(1, -(-length // most)))
