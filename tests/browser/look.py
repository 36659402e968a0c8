"""Look at a report as its readers will: pictures at four widths, light and dark, a PDF; console and network are told.

    python tests/browser/look.py results/miniature/report.html screenshots

Leaves {width}-{light,dark}-top.png, the whole page in slices, from {width}-{light,dark}-whole-1.png on, curve.png (values
under the pointer) and print.pdf in the folder; prints what the browser said. The exit status is 1 if there was a console
message, a request, or a page wider than its window.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import chromium

WIDTHS_PX = (390, 800, 1280, 1440)
CURVE = r"""
  (() => { // the third point of the first validation curve, scrolled into the window: its x and y in CSS pixels
    const path = document.querySelector('[data-curve=validation] path');
    if (!path) return null;
    path.scrollIntoView({ block: "center" });
    const [x, y] = path.getAttribute("d").match(/[\d.]+ [\d.]+/g)[2].split(" ").map(Number);
    const point = new DOMPoint(x, y).matrixTransform(path.ownerSVGElement.getScreenCTM());
    return [point.x, point.y];
  })()
"""


def look(report: Path, folder: Path) -> dict[str, Any]:
    """Take the pictures. Returns console (list), requests (list), overflow (width -> pixels too wide), pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    url = report.resolve().as_uri()
    overflow, pictures = {}, []
    with chromium.Browser() as browser:
        for width in WIDTHS_PX:
            for dark in (False, True):
                browser.open(url, width, dark)
                name = f"{width}-{'dark' if dark else 'light'}"
                browser.picture(folder / f"{name}-top.png", whole=False)
                pictures.append(str(folder / f"{name}-top.png"))
                for number, top in enumerate(range(0, browser.height(), chromium.TALLEST_PX), start=1):
                    pictures.append(str(folder / f"{name}-whole-{number}.png"))
                    browser.picture(Path(pictures[-1]), whole=True, top=top)
            overflow[width] = browser.evaluate("document.documentElement.scrollWidth - innerWidth")
        browser.open(url, 1280, dark=False)
        if place := browser.evaluate(CURVE):
            browser.send("Input.dispatchMouseEvent", type="mouseMoved", x=place[0] + 2, y=place[1] + 1)
            browser.picture(folder / "curve.png", whole=False)
            pictures.append(str(folder / "curve.png"))
        browser.open(url, 1280, dark=False)
        browser.pdf(folder / "print.pdf")
        return {
            "console": browser.console(),
            "requests": browser.requests(url),
            "overflow_px": overflow,
            "pictures": [*pictures, str(folder / "print.pdf")],
        }


def main() -> int:
    if len(sys.argv) != 3:
        print(__doc__, file=sys.stderr)
        return 2
    if chromium.find() is None:
        print("no chromium; install it: apt-get install chromium", file=sys.stderr)
        return 2
    if not Path(sys.argv[1]).is_file():
        print(f"{sys.argv[1]}: no such file; make the report first", file=sys.stderr)
        return 2
    seen = look(Path(sys.argv[1]), Path(sys.argv[2]))
    print(json.dumps(seen, indent=2))
    return int(bool(seen["console"] or seen["requests"] or any(px > 0 for px in seen["overflow_px"].values())))


if __name__ == "__main__":
    sys.exit(main())
