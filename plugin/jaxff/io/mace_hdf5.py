"""HDF5 files that mace-torch prepares for training (`mace_prepare_data`): groups config_batch_B/config_C."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from jax_models.errors import DatasetError

LABELS = {"energy": "energy", "forces": "forces", "stress": "stress", "virials": "virial"}
"""MACE's name of a label, and ours. Its virials, too, are minus stress times volume."""


def read_mace(path: Path) -> list[Any]:
    """The configurations of a file, in order. A label whose weight is zero is none: MACE writes zeros in its place.

    Raises:
        FileNotFoundError: there is no such file.
        DatasetError: it has no configurations of MACE.
    """
    import h5py

    if not path.exists():
        raise FileNotFoundError(path)
    with h5py.File(path) as file:
        batches = sorted((name for name in file if name.startswith("config_batch_")), key=_number)
        frames = [_atoms(file[batch][name]) for batch in batches for name in sorted(file[batch], key=_number)]
    if not frames:
        raise DatasetError(
            f"{path} has no configurations as mace_prepare_data writes them (config_batch_0/config_0); of other HDF5 "
            "files nothing is known: write extended XYZ"
        )
    return frames


def _number(name: str) -> int:
    return int(name.rpartition("_")[2])


def _atoms(group: Any) -> Any:
    from ase import Atoms
    from ase.calculators.singlepoint import SinglePointCalculator

    pbc, cell = _value(group, "pbc"), _value(group, "cell")
    atoms = Atoms(
        numbers=np.asarray(group["atomic_numbers"]),
        positions=np.asarray(group["positions"], float),
        cell=None if cell is None else np.asarray(cell, float),
        pbc=None if pbc is None else np.asarray(pbc, bool),
    )
    labels, weights = group.get("properties", group), group.get("property_weights")
    found = {}
    for theirs, ours in LABELS.items():
        value = _value(labels, theirs)
        weight = _value(group, f"{theirs}_weight") if weights is None else _value(weights, theirs)
        if value is not None and (weight is None or float(weight) > 0):
            found[ours] = float(value) if theirs == "energy" else np.asarray(value, float)
    virial = found.pop("virial", None)
    if virial is not None:
        atoms.info["virial"] = virial
    for name in ("config_type", "head"):
        value = _value(group, name)
        if value is not None:
            atoms.info[name] = str(value)
    if found:
        atoms.calc = SinglePointCalculator(atoms, **found)
    return atoms


def _value(group: Any, name: str) -> Any:
    """What stands there; None where nothing does, which MACE writes as a text."""
    if name not in group:
        return None
    value = group[name][()]
    value = value.decode() if isinstance(value, bytes) else value
    return None if isinstance(value, str) and value == "None" else value
