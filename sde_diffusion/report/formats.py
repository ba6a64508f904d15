"""A comparison as the table of a terminal, a paper or a page: solvers against evaluations."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass

from sde_diffusion.report.comparison import REAL, Comparison, Row
from sde_diffusion.report.html import show
from sde_diffusion.report.ranking import Standing
from sde_diffusion.system.notice import visible

LATEX = {
    "\\": r"\textbackslash{}", "_": r"\_", "&": r"\&", "%": r"\%", "#": r"\#", "$": r"\$",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': "''",
    "≈": r"$\approx$", "–": "--", "−": "$-$",
}  # fmt: skip


@dataclass(frozen=True)
class TableCell:
    """A cell of the table: what it says, and how it stands at its NFE."""

    text: str
    best: bool = False
    alike: bool = False


@dataclass(frozen=True)
class PaperTable:
    """The table at the largest N, by the value that ranks.

    Attributes:
        title: what the numbers are. columns: headings. lines: a name and its cells.
        notes: what the marks mean, and what was left out.
    """

    title: str
    columns: Sequence[str]
    lines: Sequence[tuple[str, Sequence[TableCell]]]
    notes: Sequence[str]

    @classmethod
    def of(cls, comparison: Comparison) -> PaperTable:
        """Bias-removed values with 95 % intervals, or plug-in ones where they are withheld."""
        top = comparison.top
        debiased = all(row["fd_debiased"] is not None for row in top)
        nfes = sorted({row["nfe"] for row in top})
        best = {r.nfe: r.best.solver for r in comparison.rankings if _is_told_apart(r.standings)}
        alike = {r.nfe: r.alike for r in comparison.rankings}
        at = {(row["solver"], row["nfe"]): row for row in top}
        lines = [
            (
                name,
                [
                    TableCell(
                        _value(at[name, nfe], debiased),
                        best.get(nfe) == name,
                        name in alike.get(nfe, []),
                    )
                    if (name, nfe) in at
                    else TableCell("–")
                    for nfe in nfes
                ],
            )
            for name in comparison.solvers
        ]
        floor = comparison.floors.get(comparison.largest)
        if floor is not None and (not debiased or floor["fd_debiased"] is not None):
            lines.append((REAL, [TableCell(_value(floor, debiased))] * len(nfes)))
        kind = "without bias, 95 % intervals" if debiased else "plug-in values"
        marked = any(cell.best or cell.alike for _, cells in lines for cell in cells)
        legend = ["bold: smallest at its NFE; ≈: not distinguishable from it at this N"] * marked
        left_out = [f"left out: {line}" for line in comparison.facts.get("left_out", [])]
        return cls(
            f"{comparison.metric} at N = {comparison.largest}, {kind}",
            [f"NFE {nfe:.4g}" for nfe in nfes],
            lines,
            [*legend, *left_out],
        )


def _is_told_apart(standings: Sequence[Standing]) -> bool:
    """Whether differences from the best are known: without them the best is no finding."""
    return any(standing.difference is not None for standing in standings)


def _value(row: Row, debiased: bool) -> str:
    if not debiased:
        return show(row["fd"])
    if row["fd_debiased"] is None:
        return "–"
    interval = "" if row["fd_low"] is None else f" [{show(row['fd_low'])}, {show(row['fd_high'])}]"
    return f"{show(row['fd_debiased'])}{interval}"


def text_table(comparison: Comparison) -> str:
    """The table of a terminal: ``*`` the best, ``~`` what is not distinguishable from it."""
    paper = PaperTable.of(comparison)
    lines = [["", *paper.columns]]
    for solver, at in paper.lines:
        lines.append([visible(solver), *(c.text + "~*"[c.best] * (c.best or c.alike) for c in at)])
    # Marks hang over the right edge, so that the numbers stand in line.
    widths = [max(len(line[k].rstrip("~*")) for line in lines) for k in range(len(lines[0]))]
    shown = []
    for name, *cells in lines:
        row = name.ljust(widths[0])
        for cell, width in zip(cells, widths[1:], strict=True):
            number = cell.rstrip("~*")
            row += f"   {number:>{width}}{cell[len(number) :] or ' '}"
        shown.append(row.rstrip())
    notes = [note.replace("bold:", "*").replace("≈:", "~") for note in paper.notes]
    return visible("\n".join([paper.title, *shown, *notes]))


def markdown(comparison: Comparison) -> str:
    """A table of GitHub's Markdown."""
    paper = PaperTable.of(comparison)
    lines = []
    for name, cells in paper.lines:
        shown = [f"**{c.text}**" if c.best else c.text + " ≈" * c.alike for c in cells]
        lines.append([in_markdown(name), *shown])
    notes = [in_markdown(note) for note in paper.notes]
    table = pipes(["solver", *paper.columns], lines)
    return "\n\n".join([in_markdown(paper.title), table, *notes]) + "\n"


def pipes(columns: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Lines of cells, all in Markdown, as its table: the first column to the left."""
    head = f"| {' | '.join(columns)} |\n| --- {'| ---: ' * (len(columns) - 1)}|"
    return "\n".join([head, *(f"| {' | '.join(line)} |" for line in lines)])


def _line(text: str) -> str:
    """Text in one line: a break would end a row, or a comment."""
    return " ".join(text.split())


def in_markdown(text: str) -> str:
    """Text that Markdown shows as it is, in one line."""
    escaped = re.sub(r"([|*_`<>\[\]\\~#$])", r"\\\1", _line(text))
    return escaped.replace("&", "&amp;")


def latex(comparison: Comparison) -> str:
    """A tabular with the rules of the package booktabs."""
    paper = PaperTable.of(comparison)
    lines = []
    for name, cells in paper.lines:
        shown = [
            rf"\textbf{{{in_latex(c.text)}}}"
            if c.best
            else in_latex(c.text) + r" $\approx$" * c.alike
            for c in cells
        ]
        lines.append([in_latex(name), *shown])
    return tabular(["solver", *paper.columns], lines, [paper.title, *paper.notes])


def tabular(
    columns: Sequence[str], lines: Sequence[Sequence[str]], comments: Sequence[str] = ()
) -> str:
    """Lines of cells, all in LaTeX, below the names of the columns, which are not."""
    above = [f"% {_line(line)}" for line in (*comments, r"needs \usepackage{booktabs}")]
    whole = [
        *above,
        rf"\begin{{tabular}}{{l{'r' * (len(columns) - 1)}}}",
        r"\toprule",
        rf"{' & '.join(map(in_latex, columns))} \\",
        r"\midrule",
        *(rf"{' & '.join(line)} \\" for line in lines),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "\n".join(whole) + "\n"


def in_latex(text: str) -> str:
    """Text that LaTeX sets as it is, in one line."""
    escaped = "".join(LATEX.get(letter, letter) for letter in _line(text))
    # At the head of a row these would be the argument of the \\ before it.
    return f"{{{escaped[0]}}}{escaped[1:]}" if escaped[:1] in ("[", "*") else escaped


def table_html(comparison: Comparison) -> str:
    """A <table> without style of its own, as a notebook shows it."""
    paper = PaperTable.of(comparison)
    head = "".join(f"<th>{html.escape(name)}</th>" for name in ("solver", *paper.columns))
    body = []
    for name, cells in paper.lines:
        shown = [
            f"<td>{'<b>' * c.best}{html.escape(c.text)}{' ≈' * c.alike}{'</b>' * c.best}</td>"
            for c in cells
        ]
        body.append(f"<tr><th>{html.escape(name)}</th>{''.join(shown)}</tr>")
    notes = "".join(f"<div>{html.escape(note)}</div>" for note in paper.notes)
    return (
        f"<table><caption>{html.escape(paper.title)}</caption><thead><tr>{head}</tr></thead>"
        f"<tbody>{''.join(body)}</tbody></table>{notes}"
    )
