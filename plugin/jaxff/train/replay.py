"""Structures that a trained potential goes on learning from itself, so that new data do not make it forget the old."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ase import Atoms

from jax_models import Potential
from jax_models.errors import ConfigError, StructureError
from jax_models.training.data.structures import Structure, reference_energies
from jaxff.io import read_frames
from jaxff.train.training_data import TrainingData

GROUP = "replay"
"""Their ``config_type``: errors on those that are held out are reported under it."""


def with_replay(data: TrainingData, start: Potential, files: Sequence[Path]) -> TrainingData:
    """``data`` and the structures of ``files``, labelled by ``start`` (their own labels, if any, are not read).

    New data may come from another code or functional, which shifts the energy of each element. The replayed energies
    are shifted alike, so that both can be learned at once.

    Raises:
        ConfigError: data that teachers have labelled: they have strategies of their own.
        DatasetError: a file that cannot be read.
        StructureError: a structure that ``start`` cannot evaluate; the text names it.
    """
    if data.names:
        raise ConfigError("replay and knowledge.strategy do not go together; leave one of them out")
    frames = [(f"{path}, frame {n}", atoms) for path in files for n, atoms in enumerate(read_frames(path))]
    present = {symbol for s in data.structures for symbol in s.symbols} | {x for _, a in frames for x in a.symbols}
    start = start.covering(present)  # one part for all of them, compiled once
    shifts = _shifts(data.structures, start)
    replayed = [_labelled(name, atoms, start, shifts) for name, atoms in frames]
    return dataclasses.replace(data, structures=[*data.structures, *replayed], files=[*data.files, *files])


def _labelled(name: str, atoms: Atoms, start: Potential, shifts: dict[str, float]) -> Structure:
    symbols = atoms.get_chemical_symbols()
    try:
        found = start.evaluate(atoms.positions, atoms.cell.array, atoms.pbc, symbols, double=False)
    except StructureError as error:
        raise StructureError(f"{name}: {error}") from None
    energy = float(found["energy"]) + sum(shifts.get(symbol, 0.0) for symbol in symbols)
    virial = np.array(found["virial"]) if atoms.pbc.all() else None
    forces = np.array(found["forces"])
    return Structure(
        atoms.positions, atoms.cell.array, atoms.pbc, tuple(symbols), energy, forces, virial, group=GROUP, name=name
    )


def _shifts(structures: Sequence[Structure], start: Potential) -> dict[str, float]:
    """eV for an atom of each element: how far the new data's energies lie above those of ``start``."""
    bound = [s for s in structures if not s.isolated] or list(structures)
    elements = sorted({symbol for s in bound for symbol in s.symbols})
    unknown = [element for element in elements if element not in start.elements]
    bound = [s for s in bound if not set(unknown) & set(s.symbols)]
    if not bound:
        return {}
    left = []
    for s in bound:
        found = start.evaluate(s.positions, s.cell, s.periodic, list(s.symbols), double=False, outputs=("energy",))
        left.append(dataclasses.replace(s, energy=s.energy - float(found["energy"])))
    known = [element for element in elements if element not in unknown]
    return dict(zip(known, map(float, reference_energies(left, known)), strict=True))
