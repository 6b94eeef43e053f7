"""What a page is made of."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import matplotlib
from markupsafe import Markup
from matplotlib.figure import Figure as Plot

from jaxff.report.viewer import Viewer

GROUP_NAMES = re.compile(r'<g id="[^"]*">')
NAMESPACES = re.compile(r' xmlns(:xlink)?="[^"]*"')


@dataclass(frozen=True)
class Figure:
    """A drawing, as SVG within the page."""

    svg: Markup
    caption: str


@dataclass(frozen=True)
class Table:
    """Numbers as they are shown; the first columns are text, the others numbers, to the right."""

    columns: Sequence[tuple[str, str]]
    """Title and unit of each."""
    rows: Sequence[Sequence[str]]
    caption: str = ""
    n_text: int = 1


@dataclass(frozen=True)
class Section:
    """A heading and what is under it."""

    name: str
    title: str
    text: str = ""
    parts: list[Figure | Table | Viewer] = field(default_factory=list)


def kind(part: Figure | Table | Viewer) -> str:
    """Which of the template's macros shows it."""
    return type(part).__name__.lower()


def figure(plot: Plot, caption: str) -> Figure:
    """``plot`` as SVG that may stand in a page beside others: no addresses, no names used twice, letters as text."""
    data = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    # The salt makes equal figures equal bytes.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "jaxff"}):
        plot.savefig(data, format="svg", dpi=150, metadata=nothing)
    text = data.getvalue()
    text = text[text.index("<svg") :]
    return Figure(Markup(GROUP_NAMES.sub("<g>", NAMESPACES.sub("", text))), caption)
