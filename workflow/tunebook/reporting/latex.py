"""The report's tables as LaTeX for papers: the packages booktabs and, for wide ones, graphicx are all that they need."""

from __future__ import annotations

from collections.abc import Iterator

from tunebook.reporting import report_tables
from tunebook.reporting.report_tables import Cell, Table
from tunebook.reporting.study_folder import Experiment, Study

# What TeX reads as a command, and signs that its common fonts lack
SIGNS = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "\N{MINUS SIGN}": "$-$", "→": r"$\to$", "×": r"$\times$", "\u202f": r"\,", "\u2009": r"\,", "\u00a0": "~", "–": "--",
    "“": "``", "”": "''", "…": r"\dots{}",
} | {sign: f"$^{{{plain}}}$" for sign, plain in zip("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789", strict=True)}  # fmt: skip
HEAD = (
    "% Tables of the study {study}, written by tunebook. Put \\usepackage{{booktabs}} and \\usepackage{{graphicx}} into the\n"
    "% preamble, and \\input{{tables}} where the tables are to stand, or copy the ones that you want. Names in other scripts than\n"
    "% Latin need LuaLaTeX or XeLaTeX.\n"
)
WIDE = 6  # columns: from here on a table is scaled to the width of the text


def latex_page(study: Study) -> str:
    """The tables of all experiments, in the order of the report."""
    parts = [HEAD.format(study=study.record["study"])]
    for experiment in study.experiments:
        parts += [latex(table, caption, label) for table, caption, label in _tables(experiment)]
    return "\n".join(parts)


def _tables(experiment: Experiment) -> Iterator[tuple[Table, str, str]]:
    """(table, caption, label) of an experiment."""
    name, title = experiment.name, experiment.title
    yield (
        report_tables.losses_table(experiment),
        f"{title}: loss by epoch, in nats a supervised token",
        f"{name}-losses",
    )
    yield (
        report_tables.metrics_table(experiment),
        f"{title}: metrics on held-out rows, with 95 % intervals",
        f"{name}-metrics",
    )
    yield (
        report_tables.methods_table(experiment),
        f"{title}: what each method trains, stores and costs",
        f"{name}-methods",
    )
    yield (
        report_tables.loss_contests_table(experiment),
        f"{title}: paired differences of the loss of the text on the same rows, with 95 % intervals",
        f"{name}-comparisons",
    )


def latex(table: Table, caption: str, label: str) -> str:
    """A table as a LaTeX float. Args: caption: plain text; label: what follows `tab:` in \\label."""
    columns = "".join("r" if column.numeric else "l" for column in table.columns)
    lines = [" & ".join(escape(column.label) for column in table.columns) + r" \\", r"\midrule"]
    for row in table.rows:
        lines.append(" & ".join(_cell(cell) for cell in row) + r" \\")
        if any(cell.note for cell in row):
            lines.append(" & ".join(_note(cell) for cell in row) + r" \\")
    body = "\n".join([rf"\begin{{tabular}}{{{columns}}}", r"\toprule", *lines, r"\bottomrule", r"\end{tabular}"])
    if len(table.columns) >= WIDE:
        body = rf"\resizebox{{\textwidth}}{{!}}{{%{chr(10)}{body}}}"
    return "\n".join(
        [r"\begin{table}", r"\centering", rf"\caption{{{escape(caption)}}}", rf"\label{{tab:{label}}}",
         body, r"\end{table}", ""]
    )  # fmt: skip


def _cell(cell: Cell) -> str:
    text = escape(cell.text)
    return rf"\textbf{{{text}}}" if cell.kind == "best" else text


def _note(cell: Cell) -> str:
    return rf"{{\footnotesize {escape(cell.note)}}}" if cell.note else ""


def escape(text: str) -> str:
    """Text as LaTeX prints it: every sign that it would read as a command stands for itself; line breaks become spaces."""
    return "".join(SIGNS.get(sign, sign) for sign in " ".join(text.splitlines()))
