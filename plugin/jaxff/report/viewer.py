"""The map that can be turned and clicked: chemiscope's viewer, put into the page.

Chemiscope has no function for a page of its own, but its package holds the whole viewer in one script that needs no
network. It is 3 MB and brings Jupyter's packages along, so that it is optional (``pip install jaxff[report]``); without
it, and in a browser without WebGL, there is the picture of `jaxff.plots.structure_map`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

if TYPE_CHECKING:
    from ase import Atoms

SCRIPT = Path("sphinx", "static", "chemiscope.min.js")
"""In chemiscope's package; its own headless browser takes the same."""


@dataclass(frozen=True)
class Viewer:
    """A data set, and the script that shows it."""

    script: Markup
    data: Markup


def viewer(
    frames: Sequence[Atoms], properties: dict[str, tuple[Sequence[Any], str]], settings: dict[str, str]
) -> Viewer | None:
    """Structures with their properties as a part of a page; None where chemiscope is not installed.

    Args:
        properties: values and unit of each property, one value a structure.
        settings: which property is on ``x`` and ``y``, and which is the ``color``.
    """
    script = _script()
    if script is None:
        return None
    from chemiscope import create_input

    plain = [_plain(atoms) for atoms in frames]
    described = {
        name: {"target": "structure", "values": list(values)} | ({"units": unit} if unit else {})
        for name, (values, unit) in properties.items()
    }
    shown = {
        "map": {
            "x": {"property": settings["x"]},
            "y": {"property": settings["y"]},
            "color": {"property": settings["color"]},
            "palette": "viridis",
        },
        "structure": [{"unitCell": True, "axes": "off"}],
    }
    data = create_input(structures=plain, properties=described, settings=shown, metadata={"name": " "})
    # Within a script, a < could begin the tag that ends it.
    text = json.dumps(data).replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    return Viewer(Markup(script.read_text(encoding="utf-8").replace("</script", "<\\/script")), Markup(text))


def _script() -> Path | None:
    found = find_spec("chemiscope")
    if found is None or not found.submodule_search_locations:
        return None
    path = Path(found.submodule_search_locations[0]) / SCRIPT
    return path if path.is_file() else None


def _plain(atoms: Atoms) -> Atoms:
    """Elements, positions and cell alone: chemiscope takes labels of its own accord."""
    from ase import Atoms

    return Atoms(atoms.symbols, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
