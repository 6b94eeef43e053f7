"""`jaxff info`: what a .jaxff file holds."""

from __future__ import annotations

from typing import Any

from jaxff.cli.options import JsonFile, PotentialFile


def info(potential: PotentialFile, json: JsonFile = None) -> None:
    """Contract, architecture, size, errors and origin of a potential. The file is verified on the way."""
    import equinox as eqx
    import jax
    from rich.console import Console
    from rich.table import Table

    from jax_models import Potential
    from jaxff.cli.files import write_json
    from jaxff.cli.outputs import JSON, Output, check_outputs

    check_outputs([Output("--json", json, JSON)], [potential])
    loaded = Potential.load(potential)
    parameters = sum(leaf.size for leaf in jax.tree.leaves(eqx.filter(loaded.model, eqx.is_inexact_array)))
    data: dict[str, Any] = {
        "file": str(potential),
        "size_bytes": potential.stat().st_size,
        "contract": loaded.contract.to_dict(),
        "architecture": loaded.architecture,
        "n_parameters": int(parameters),
        "reference_energies_ev": dict(zip(loaded.elements, map(float, loaded.reference_energies), strict=True)),
        "provenance": loaded.provenance,
    }
    if json:
        write_json(json, data)
    table = Table(title=str(potential), show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in _flat({key: value for key, value in data.items() if key != "file"}):
        table.add_row(name, value)
    Console().print(table)


def _flat(value: Any, name: str = "") -> list[tuple[str, str]]:
    """Rows of a nested dictionary; the deeper name follows the shallower."""
    if isinstance(value, dict):
        return [row for key, part in value.items() for row in _flat(part, f"{name} {key}".strip().replace("_", " "))]
    if isinstance(value, list | tuple) and any(isinstance(part, dict) for part in value):
        return [row for n, part in enumerate(value, start=1) for row in _flat(part, f"{name} {n}")]
    if isinstance(value, list | tuple):
        value = ", ".join(map(str, value))
    return [(name, f"{value:.6g}" if isinstance(value, float) else str(value))]
