"""A network trained with mace-torch becomes a .jaxff file, and gives mace-torch's numbers
(data/make_mace_reference.py)."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from plain_reference import evaluate_together
from safetensors.numpy import load_file, save_file

from jax_models import ModelFileError, Potential
from jax_models.imports import potential_from_file
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


def compare(potential: Potential, structure: dict, expected: dict) -> None:
    given = np.array(structure["positions"]), np.array(structure["cell"]), True, structure["symbols"]
    (values,) = evaluate_together(potential, [given])
    for key, tolerance in (("energies", 1e-9), ("forces", 1e-8)):
        np.testing.assert_allclose(values[key], expected[key], rtol=0, atol=tolerance)
    stress = values["virial"] / np.linalg.det(structure["cell"])
    np.testing.assert_allclose(stress, expected["stress"], rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", ["plain", "density"])
def test_other_published_forms(name):
    """Blocks that are not residual, or divide by a density; Agnesi's distances; pair repulsion."""
    potential = potential_from_file(DATA / f"mace_{name}.safetensors")
    reference = json.loads((DATA / f"mace_{name}.json").read_text())
    assert [prior.switch for prior in potential.model.priors] == ["polynomial"]
    compare(potential, reference, reference)


@pytest.mark.parametrize("head", ["pbe", "r2scan"])
def test_one_of_several_heads(head):
    reference = json.loads((DATA / "mace_heads.json").read_text())
    path = DATA / "mace_heads.safetensors"
    compare(potential_from_file(path, head=head), reference, reference[head] if head in reference else reference)
    with pytest.raises(ModelFileError, match=r"has the heads pbe, r2scan; choose one \(--head pbe\)"):
        potential_from_file(path)
    with pytest.raises(ModelFileError, match="no head scan; it has pbe, r2scan"):
        potential_from_file(path, head="scan")


@pytest.mark.slow
def test_a_part_of_its_elements_is_the_same_network():
    whole = potential_from_file(DATA / "mace_density.safetensors")
    given = np.array([[0.0, 0, 0], [1.9, 0, 0.3], [0.4, 1.7, 0.2]]), np.zeros((3, 3)), False, ["Si"] * 3
    (expected,) = evaluate_together(whole, [given])
    (found,) = evaluate_together(whole.only(["Si"]), [given])
    np.testing.assert_allclose(found["forces"], expected["forces"], atol=1e-10)


def test_a_pickled_network_is_refused_with_a_recipe(tmp_path):
    with zipfile.ZipFile(tmp_path / "mace.model", "w") as file:
        file.writestr("mace/data.pkl", b"cmace.modules.models\nScaleShiftMACE\n.")
    with pytest.raises(ModelFileError, match=r"pickled: opening it would run(.|\n)*save_file\(state"):
        potential_from_file(tmp_path / "mace.model")


def changed(tmp_path, **changes):
    tensors = load_file(DATA / "mace_reference.safetensors")
    for name, value in changes.items():
        tensors[name.replace("__", ".")] = value
    save_file(tensors, tmp_path / "changed.safetensors", metadata={"avg_num_neighbors": "9"})
    return tmp_path / "changed.safetensors"


def test_what_cannot_be_read_exactly_is_refused_by_name(tmp_path):
    with pytest.raises(ModelFileError, match="cannot read .*nothing.safetensors"):
        potential_from_mace(tmp_path / "nothing.safetensors")
    with pytest.raises(ModelFileError, match="interactions.0.skip_tp.weight holds 36 numbers where 18 are needed"):
        potential_from_mace(changed(tmp_path, interactions__0__skip_tp__weight=np.zeros(36)))
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
