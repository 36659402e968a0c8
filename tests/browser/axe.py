"""axe-core, the accessibility checker, from npm's registry at test time: an exact version, run in the page itself."""

from __future__ import annotations

import functools
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import Any

VERSION = "4.10.2"
TAGS = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice")
RUN = """
axe.run(document, {runOnly: {type: "tag", values: %s}, resultTypes: ["violations"]}).then((told) =>
  told.violations.map((v) => ({rule: v.id, impact: v.impact, help: v.help, nodes: v.nodes.slice(0, 3).map((n) => n.html.slice(0, 200))})))
"""


@functools.cache
def script() -> str | None:
    """axe-core's own script; None where there is no npm or its registry does not answer."""
    if shutil.which("npm") is None:
        return None
    with tempfile.TemporaryDirectory(prefix="tunebook-axe-") as folder:
        done = subprocess.run(
            ["npm", "pack", "--silent", f"axe-core@{VERSION}"], cwd=folder, capture_output=True, text=True, check=False
        )
        packed = Path(folder) / f"axe-core-{VERSION}.tgz"
        if done.returncode != 0 or not packed.exists():
            return None
        with tarfile.open(packed) as archive:
            return archive.extractfile("package/axe.min.js").read().decode()


def findings(browser: Any) -> list[dict[str, Any]]:
    """What axe has to say of the page that is open: rule, impact (minor to critical), help, nodes."""
    browser.evaluate(script() + "; null")
    return browser.evaluate(RUN % list(TAGS))
