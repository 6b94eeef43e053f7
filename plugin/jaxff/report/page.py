"""The page: what was measured, as one HTML file that needs nothing else."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
from jinja2 import Environment, StrictUndefined

from jax_models import Potential, __version__
from jaxff.report.measure import Measured
from jaxff.report.parts import Section, kind
from jaxff.report.properties import properties_section
from jaxff.report.sections import (
    COLUMNS,
    errors_section,
    known_errors_section,
    map_section,
    number,
    parity_section,
    rounds_section,
    training_section,
)

HEADLINES = ("energy_rmse_mev_per_atom", "force_rmse_ev_per_angstrom", "stress_rmse_gpa", "coverage")
"""Numbers on top of the page."""


def page(
    measured: Measured,
    potential: Potential,
    model: Path,
    data: Path,
    rounds: Sequence[dict[str, Any]] = (),
    properties: Sequence[Path] = (),
) -> str:
    """The whole report.

    Args:
        measured: errors for the structures of ``data``.
        model: where ``potential`` was read from; its training's log is looked for beside it.
        rounds: of an active loop, as `read_rounds` gives them.
        properties: files of other commands' results.

    Raises:
        DatasetError: a file of properties holds none.
    """
    found = [
        parity_section(measured),
        errors_section(measured),
        known_errors_section(measured, potential),
        map_section(measured, potential),
        training_section(potential, Path(f"{model}.log.jsonl")),
        rounds_section(rounds),
        properties_section(properties),
    ]
    errors = measured.evaluation.to_dict()
    return render(
        title=model.name,
        data=data.name,
        facts=_facts(potential, measured),
        headlines=[
            (COLUMNS[key][0], COLUMNS[key][1], number(errors[key], COLUMNS[key][2]))
            for key in HEADLINES
            if key in errors
        ],
        sections=[section for section in found if section is not None],
        numbers={**errors, "element": measured.by_element()},
    )


def _facts(potential: Potential, measured: Measured) -> list[tuple[str, str]]:
    parameters = sum(leaf.size for leaf in jax.tree.leaves(eqx.filter(potential.model, eqx.is_inexact_array)))
    atoms = sum(len(s.atoms) for s in measured.structures)
    facts = [
        ("elements", ", ".join(potential.elements)),
        ("model", _architecture(potential)),
        ("parameters", f"{parameters:,}"),
        ("cutoff", f"{potential.cutoff:g} Å" if potential.cutoff else "none"),
        ("tested on", f"{len(measured.structures):,} structures, {atoms:,} atoms"),
    ]
    trained = potential.provenance.get("n_train")
    if trained is not None:
        facts.append(("trained on", f"{trained:,} structures"))
    return facts


def _architecture(potential: Potential) -> str:
    names = [potential.architecture["name"]] if isinstance(potential.architecture.get("name"), str) else []
    for part in ("descriptor", "readout"):
        settings = potential.architecture.get(part)
        name = settings.get("name") if isinstance(settings, dict) else settings
        if isinstance(name, str):
            names.append(name)
    return " + ".join(names) or "a function"


def render(
    title: str,
    data: str,
    facts: Sequence[tuple[str, str]],
    headlines: Sequence[tuple[str, str, str]],
    sections: Sequence[Section],
    numbers: dict[str, Any],
) -> str:
    """Fill the template; every text is escaped, unless it was made here (`Markup`)."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["kind"] = kind
    template = environment.from_string(files("jaxff.report").joinpath("template.html").read_text(encoding="utf-8"))
    return template.render(
        title=title,
        data=data,
        facts=facts,
        headlines=headlines,
        sections=sections,
        # Chemiscope's plots compile functions at run time.
        viewer=any(kind(part) == "viewer" for section in sections for part in section.parts),
        # Within a script, a < could begin the tag that ends it.
        numbers=json.dumps(numbers, allow_nan=False).replace("<", "\\u003c"),
        # Only scripts that carry it run: should a text ever get through unescaped, it stays a text.
        nonce=secrets.token_urlsafe(16),
        version=__version__,
        date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )
