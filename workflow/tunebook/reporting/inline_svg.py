"""SVG files made fit to stand inside a page: ids of their own, the page's theme, a role and a text for screen readers."""

from __future__ import annotations

import html
import re

from tunebook.reporting.palette import BLUE, GREEN, GRID, INK, ORANGE, PAPER, PURPLE, QUIET, SKY, VERMILLION

THEMED = {
    INK: "ink", QUIET: "quiet", GRID: "grid", PAPER: "paper", BLUE: "blue", VERMILLION: "vermillion", GREEN: "green",
    ORANGE: "orange", PURPLE: "purple", SKY: "sky",
}  # fmt: skip
THEMED_LINE = re.compile("|".join(THEMED))


def inline(svg: str, prefix: str, alternative: str) -> str:
    """The <svg> element of a file, to be put into HTML as it is.

    Args: prefix: unique in the page, goes before each id; alternative: what a reader hears in place of the picture.
    """
    element = svg[svg.index("<svg") :]
    element = re.sub(r"<metadata>.*?</metadata>", "", element, flags=re.DOTALL)
    referenced = set(re.findall(r'(?:href="#|url\(#)([^")]+)', element))
    element = re.sub(r' id="([^"]+)"', lambda match: _own_id(match[1], prefix, referenced), element)
    element = re.sub(r'((?:xlink:)?href="#|url\(#)', rf"\g<1>{prefix}-", element)
    element = element.replace("xlink:href", "href")
    # Only style attributes name colours; a page's variable takes the place of each, the file's colour stays as fallback
    element = re.sub(r'(?<=style=")[^"]*', _themed, element)
    width, height = re.search(r'width="([\d.]+)pt" height="([\d.]+)pt"', element).groups()
    opening = (
        f'<svg role="img" aria-label="{html.escape(alternative, quote=True)}" viewBox="0 0 {width} {height}" '
        f'width="{float(width) / 0.75:.0f}" height="{float(height) / 0.75:.0f}">'
    )
    return opening + _slimmer(element[element.index(">") + 1 :])


def _slimmer(body: str) -> str:
    """Leave out what a page does not need: comments, fonts and defaults that its style sheet sets, white space."""
    body = re.sub(r"<!--.*?-->|<style.*?</style>|font-family: [^;\"]*; |<g/>", "", body, flags=re.DOTALL)
    body = re.sub(r' transform="rotate\(-0 [^"]*"', "", body)
    body = re.sub(r'(?<= d=")[^"]*', lambda path: re.sub(r"\s*([A-Za-z])\s*", r"\1", path[0]), body)
    return re.sub(r"\s*\n\s*", "", body)


def _own_id(name: str, prefix: str, referenced: set[str]) -> str:
    """Ids that something refers to are kept, with the prefix; the others only make the page heavy."""
    return f' id="{prefix}-{name}"' if name in referenced else ""


def _themed(style: re.Match[str]) -> str:
    return THEMED_LINE.sub(lambda colour: f"var(--figure-{THEMED[colour[0]]}, {colour[0]})", style[0])
