"""Nequix and SevenNet files give what the codes that wrote them give, and damaged ones are refused.

The numbers are of nequix 0.4.5 (JAX, no kernels) and sevenn 0.13.0 (PyTorch 2.13), both in single precision on a CPU.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from ase.data import atomic_numbers, covalent_radii
from ase.spacegroup import crystal

from jax_models import ModelFileError
from jax_models.imports import potential_from_file

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data" / "universal"


def silicon() -> Atoms:
    atoms = bulk("Si", cubic=True)
    atoms.rattle(0.1, seed=1)
    return atoms


def sheared_salt() -> Atoms:
    atoms = bulk("NaCl", "rocksalt", a=5.64, cubic=True)
    atoms.rattle(0.1, seed=2)
    atoms.set_cell(atoms.cell @ (np.eye(3) + [[0, 0.03, 0], [0, 0, 0.02], [0.01, 0, 0]]), scale_atoms=True)
    return atoms


def slab() -> Atoms:
    atoms = fcc111("Cu", (2, 2, 3), vacuum=8.0)
    atoms.rattle(0.05, seed=3)
    atoms.pbc = True
    return atoms


def ethanol() -> Atoms:
    atoms = molecule("CH3CH2OH")
    atoms.rattle(0.05, seed=4)
    return atoms


def perovskite() -> Atoms:
    sites = [(0, 0, 0), (0.5, 0.5, 0.5), (0.5, 0.5, 0)]
    atoms = crystal(["Sr", "Ti", "O"], sites, spacegroup=221, cellpar=[3.9, 3.9, 3.9, 90, 90, 90])
    atoms.rattle(0.05, seed=5)
    return atoms


def one_atom() -> Atoms:
    atoms = bulk("Al")
    atoms.rattle(0.01, seed=6)
    return atoms


def alloy() -> Atoms:
    atoms = bulk("Cu", cubic=True) * (2, 2, 1)
    atoms.set_chemical_symbols(np.random.RandomState(7).choice(["Cr", "Mn", "Fe", "Co", "Ni"], len(atoms)))
    atoms.rattle(0.1, seed=7)
    return atoms


STRUCTURES = {
    "Si8": silicon,
    "NaCl": sheared_salt,
    "Cu111": slab,
    "ethanol": ethanol,
    "SrTiO3": perovskite,
    "Al1": one_atom,
    "alloy": alloy,
    "Fe1": lambda: Atoms("Fe", [[0, 0, 0]]),
}
REFERENCE = {
    "nequix-oam-1-pft.nqx": {
        "Si8": (
            -41.309025,
            [-2.78767, 0.44617, -0.39023],
            [-0.030352, -0.037286, -0.028146, -0.024156, 0.027763, -0.040611],
        ),
        "NaCl": (
            -26.629555,
            [0.27869, 0.0185, 0.69125],
            [-0.009259, -0.009623, -0.020206, 0.001553, 0.001154, 0.001443],
        ),
        "Cu111": (
            -45.215183,
            [-0.97536, -0.38695, -0.26616],
            [0.001471, 0.002055, -0.005003, 0.00026, -0.000142, -0.000718],
        ),
        "ethanol": (-46.012054, [1.41833, 1.10818, 3.12405], None),
        "SrTiO3": (
            -39.988552,
            [-0.16209, 0.11947, -0.25496],
            [-0.044514, -0.039447, -0.051007, -0.001296, -0.00227, 4e-05],
        ),
        "Al1": (-3.738527, [-0.0, -0.0, -0.0], [0.005972, 0.005972, 0.005972, -0.0, -0.0, -0.0]),
        "alloy": (
            -124.582230,
            [-1.06936, 0.10739, 0.25626],
            [0.00252, 0.008679, -0.004094, -0.002982, 0.005879, 0.006933],
        ),
    },
    "nequix-mp-1-pft.nqx": {
        "Si8": (
            -41.440910,
            [-2.62533, 0.4217, -0.45661],
            [-0.031263, -0.037726, -0.028684, -0.023151, 0.027746, -0.039364],
        ),
        "NaCl": (
            -26.596821,
            [0.26526, 0.02129, 0.63767],
            [-0.010212, -0.010568, -0.019674, 0.001499, 0.001204, 0.001451],
        ),
        "Cu111": (
            -45.150593,
            [-0.8834, -0.32941, -0.31959],
            [0.005251, 0.005671, -0.007703, 0.00023, -0.00014, -0.000604],
        ),
        "ethanol": (-45.914520, [1.29219, 1.34598, 3.27549], None),
        "SrTiO3": (
            -39.987370,
            [-0.16305, 0.11778, -0.25673],
            [-0.046079, -0.041459, -0.052725, -0.001196, -0.00215, 4.5e-05],
        ),
        "Al1": (-3.731115, [-0.0, -0.0, -0.0], [0.009336, 0.009336, 0.009336, 0.0, 0.0, -0.0]),
        "alloy": (
            -124.511932,
            [-1.21472, 0.10037, 0.06682],
            [0.027968, 0.034453, 0.020067, -0.004157, 0.00634, 0.00671],
        ),
    },
    "SevenNet_0__11Jul2024/checkpoint_sevennet_0.pth": {
        "Si8": (
            -41.733467,
            [-2.20397, 0.54104, -0.32173],
            [-0.024711, -0.029475, -0.021422, -0.02171, 0.027575, -0.038312],
        ),
        "NaCl": (
            -26.655228,
            [0.27443, 0.02472, 0.62481],
            [-0.008856, -0.009259, -0.018223, 0.001596, 0.00104, 0.00123],
        ),
        "Cu111": (
            -45.104897,
            [-0.97703, -0.37869, -0.27029],
            [0.005273, 0.005822, -0.004596, 0.000322, -0.000155, -0.000809],
        ),
        "ethanol": (-45.954906, [1.20677, 0.96762, 3.05405], None),
        "SrTiO3": (
            -40.007965,
            [-0.14599, 0.10005, -0.23027],
            [-0.042095, -0.037692, -0.047473, -0.000931, -0.002165, 1.7e-05],
        ),
        "Al1": (-3.719203, [0.0, 0.0, 0.0], [0.004467, 0.004467, 0.004467, 0.0, 0.0, 0.0]),
        "alloy": (
            -124.993233,
            [-1.14744, 0.27473, 0.2497],
            [0.032222, 0.02903, 0.015429, 0.000746, 0.006125, 0.004641],
        ),
        "Fe1": (-3.434386, [0.0, 0.0, 0.0], None),
    },
    "SevenNet_l3i5/checkpoint_l3i5.pth": {
        "Si8": (
            -41.712109,
            [-2.45838, 0.31589, -0.62254],
            [-0.023013, -0.029697, -0.019735, -0.023849, 0.027743, -0.039952],
        ),
        "NaCl": (
            -26.693552,
            [0.24557, 0.01408, 0.61762],
            [-0.008075, -0.008335, -0.017263, 0.00138, 0.001369, 0.001628],
        ),
        "Cu111": (
            -45.097927,
            [-0.94699, -0.37975, -0.27003],
            [0.005158, 0.005536, -0.003767, 0.000317, -0.000141, -0.000885],
        ),
        "ethanol": (-45.904224, [1.45545, 0.99263, 3.23663], None),
        "SrTiO3": (
            -40.009739,
            [-0.15163, 0.10663, -0.23691],
            [-0.041259, -0.036968, -0.04667, -0.001325, -0.001997, 2.1e-05],
        ),
        "Al1": (-3.715869, [0.0, 0.0, 0.0], [0.003893, 0.003893, 0.003893, 0.0, -0.0, 0.0]),
        "alloy": (
            -124.904358,
            [-0.72537, -0.15776, 0.14207],
            [0.061506, 0.056768, 0.050062, 0.001665, 0.010991, 0.014236],
        ),
        "Fe1": (-3.534542, [0.0, 0.0, 0.0], None),
    },
}
"""For each file and structure: energy (eV), force on the first atom (eV/Å), stress (eV/Å^3, Voigt)."""
EVERY_ELEMENT = json.loads((Path(__file__).parent / "data" / "every_element_reference.json").read_text())
GATE = {("nequix-oam-1-pft.nqx", "Si8")}


def published(name: str) -> Path:
    if name.endswith(".nqx"):
        path = SHARED / name
    else:
        found = importlib.util.find_spec("sevenn")
        if found is None or found.origin is None:
            pytest.skip("SevenNet's files come with the package sevenn, which is not installed")
        path = Path(found.origin).parent / "pretrained_potentials" / name
    if not path.exists():
        pytest.skip(f"{path} is absent")
    return path


CASES = [
    pytest.param(file, name, marks=() if (file, name) in GATE else pytest.mark.slow)
    for file, structures in REFERENCE.items()
    for name in structures
]


@pytest.mark.parametrize(("file", "name"), CASES)
def test_energy_forces_and_stress_are_those_of_the_original_code(file, name):
    potential = potential_from_file(published(file))
    atoms = STRUCTURES[name]()
    energy, force, stress = REFERENCE[file][name]
    given = atoms.positions, atoms.cell.array, atoms.pbc, atoms.get_chemical_symbols()
    found = potential.evaluate(*given, double=False)
    assert found["energy"] == pytest.approx(energy, abs=1e-5 * len(atoms))
    assert np.abs(found["forces"][0] - force).max() < 1e-4
    if stress is not None:
        ours = (found["virial"] / atoms.get_volume())[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
        assert np.abs(ours - stress).max() < 1e-5


def dimers(elements: list[str]) -> Atoms:
    """An atom of each element and an oxygen beside it; no pair sees another."""
    edge = int(np.ceil(len(elements) ** (1 / 3)))
    places = 9.0 * np.array(list(np.ndindex(edge, edge, edge)))[: len(elements)]
    directions = np.random.default_rng(0).normal(size=(len(elements), 3))
    directions /= np.linalg.norm(directions, axis=1)[:, None]
    lengths = np.array([1.1 * (covalent_radii[atomic_numbers[e]] + covalent_radii[8]) for e in elements])
    positions = np.concatenate([places, places + directions * lengths[:, None]])
    return Atoms([*elements, *["O"] * len(elements)], positions, cell=[9.0 * edge] * 3, pbc=True)


@pytest.mark.slow
@pytest.mark.parametrize("file", list(EVERY_ELEMENT))
def test_every_element_beside_an_oxygen(file):
    reference = EVERY_ELEMENT[file]
    atoms = dimers(reference["elements"])
    potential = potential_from_file(published(file))
    assert sorted(potential.elements) == sorted(reference["elements"]) and len(potential.elements) == 89
    found = potential.evaluate(atoms.positions, atoms.cell.array, atoms.pbc, atoms.get_chemical_symbols(), double=False)
    assert found["energy"] == pytest.approx(reference["energy"], abs=1e-5 * len(atoms))
    # Of the elements' own atoms; the oxygen's is the opposite. Up to 17 eV/Å.
    assert np.abs(found["forces"][: len(atoms) // 2] - reference["forces"]).max() < 1e-4


def test_a_file_says_what_it_is():
    potential = potential_from_file(published("nequix-mp-1-pft.nqx"))
    assert len(potential.elements) == 89 and potential.contract.layers == 4
    assert "Koker" in potential.contract.citation
    assert potential.provenance["imported"] == "Nequix" and potential.provenance["dtype"] == "float32"
    part = potential.only(("Si", "O"))
    assert part.model.embedding.shape == (2, 89)
    assert part.reference_energies[1] == potential.reference_energies[potential.elements.index("O")]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda data: data[: len(data) // 2], "ends or is damaged at array"),
        (lambda data: data + b"x", "holds more than the 63 arrays"),
        (
            lambda data: data.replace(b'"lmax": 3', b'"lmax": 2', 1),
            "cannot be read: .*must not go beyond l = l_max = 2",
        ),
        (lambda data: data.replace(b'"n_layers": 4', b'"n_layers": 3', 1), r"array 35 is float32.* says"),
        (lambda data: data.replace(b'"n_layers": 4', b'"n_lagers": 4', 1), "KeyError"),
        (lambda data: data.replace(b'"cutoff": 6.0', b'"cutoff": [6]', 1), "cannot be read: "),
        (lambda data: b"{" + data, "its first line is not JSON"),
        (lambda data: _pickled(data), "ends or is damaged at array 0"),
    ],
)
def test_a_damaged_nequix_file_is_refused(change, text, tmp_path):
    path = tmp_path / "model.nqx"
    path.write_bytes(change(published("nequix-mp-1-pft.nqx").read_bytes()))
    with pytest.raises(ModelFileError, match=text):
        potential_from_file(path)


def _pickled(data: bytes) -> bytes:
    """The first line, and an array that only pickle could read."""
    import io

    line, file = data[: data.index(b"\n") + 1], io.BytesIO()
    np.save(file, np.array([print], object), allow_pickle=True)
    return line + file.getvalue()


def test_another_network_of_sevennet_is_refused_by_name(tmp_path):
    """The multi-fidelity network has weights for each task."""
    with pytest.raises(ModelFileError, match="use_modality is True; only False can be read"):
        potential_from_file(published("SevenNet_MF_0/checkpoint_sevennet_mf_0.pth"))
