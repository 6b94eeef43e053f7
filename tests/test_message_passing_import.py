"""A network trained with mace-torch becomes a .jaxff file, and gives mace-torch's numbers
(data/make_mace_reference.py)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from jax_models import ModelFileError, Potential
from jax_models.imports.mace import potential_from_mace

DATA = Path(__file__).parent / "data"


def test_imported_network_gives_the_original_numbers(tmp_path):
    potential_from_mace(DATA / "mace_reference.safetensors").save(tmp_path / "mace.jaxff")
    potential = Potential.load(tmp_path / "mace.jaxff")
    assert potential.contract.layers == 2
    assert potential.elements == ("O", "Si")
    reference = {k: np.array(v) for k, v in json.loads((DATA / "mace_reference.json").read_text()).items()}
    values = potential.evaluate(reference["positions"], reference["cell"], True, reference["symbols"].tolist())
    assert np.abs(values["energies"] - reference["energies"]).max() < 1e-9
    assert np.abs(values["forces"] - reference["forces"]).max() < 1e-9
    assert np.abs(values["virial"] / np.linalg.det(reference["cell"]) - reference["stress"]).max() < 1e-10


def changed(tmp_path, **changes):
    tensors = load_file(DATA / "mace_reference.safetensors")
    for name, value in changes.items():
        tensors[name.replace("__", ".")] = value
    save_file(tensors, tmp_path / "changed.safetensors", metadata={"avg_num_neighbors": "9"})
    return tmp_path / "changed.safetensors"


def test_what_cannot_be_read_exactly_is_refused_by_name(tmp_path):
    with pytest.raises(ModelFileError, match="cannot read .*nothing.safetensors"):
        potential_from_mace(tmp_path / "nothing.safetensors")
    with pytest.raises(ModelFileError, match="interactions.0.skip_tp.weight holds 54 numbers where 18 are needed"):
        potential_from_mace(changed(tmp_path, interactions__0__skip_tp__weight=np.zeros(54)))
    with pytest.raises(ModelFileError, match="radial basis"):
        potential_from_mace(changed(tmp_path, radial_embedding__bessel_fn__bessel_weights=np.ones(4)))
    tensors = load_file(DATA / "mace_reference.safetensors")
    save_file(tensors, tmp_path / "plain.safetensors")
    with pytest.raises(ModelFileError, match="does not say avg_num_neighbors"):
        potential_from_mace(tmp_path / "plain.safetensors")
    del tensors["scale_shift.scale"]
    save_file(tensors, tmp_path / "plain.safetensors")
    with pytest.raises(ModelFileError, match=r"has no scale_shift.scale: only ScaleShiftMACE"):
        potential_from_mace(tmp_path / "plain.safetensors", avg_num_neighbors=9.0)
