"""`jaxff structures`: every family is what its name says, for any element, and the same seed makes the same file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.data import covalent_radii
from ase.io import read, write

from jax_models.errors import JaxffError
from jaxff.cli.app import app
from jaxff.knowledge.structure_families import Recipe, make_structures


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def make(*arguments):
    app(["structures", *map(str, arguments)], standalone_mode=False)


def closest(atoms):
    """Shortest distance over the sum of the pair's covalent radii."""
    repeated = atoms * (2, 2, 2)
    distances = repeated.get_all_distances(mic=True)
    np.fill_diagonal(distances, np.inf)
    radii = covalent_radii[repeated.numbers]
    return (distances / (radii[:, None] + radii)).min()


@pytest.mark.parametrize("elements", ["Si", "Mo", "Ti,Al"])
def test_families_of_any_elements(here, elements):
    make("--out", "u.xyz.xz", "--elements", elements, "--number", 4, "--atoms", 12)
    found = read("u.xyz.xz", ":")
    assert [a.info["config_type"] for a in found] == [
        f for f in ("strain", "rattle", "vacancy", "surface", "prototype") for _ in range(4)
    ]
    for atoms in found:
        assert atoms.pbc.all() and np.isfinite(atoms.positions).all() and atoms.calc is None
        assert closest(atoms) > 0.55
        if atoms.info["config_type"] == "surface":
            heights = np.sort(atoms.get_scaled_positions()[:, 2])
            gaps = np.diff([*heights, heights[0] + 1]) * atoms.get_volume() / np.linalg.norm(np.cross(*atoms.cell[:2]))
            assert gaps.max() > 10


@pytest.mark.parametrize("crystal", ["Si", "W", "NaCl"])
def test_disordered_structures_have_no_order_and_no_overlaps(crystal):
    start = bulk("NaCl", "rocksalt", a=5.64) if crystal == "NaCl" else bulk(crystal)
    found = list(make_structures([start], ["disordered"], 4, 0, Recipe(atoms=32)))
    for atoms in found:
        distances = atoms.get_all_distances(mic=True)
        np.fill_diagonal(distances, np.inf)
        assert distances.min() > 0.8 * start.repeat(3).get_all_distances(mic=True)[0, 1:].min()
        if crystal == "NaCl":
            # Ions of one charge keep away from each other.
            alike = atoms.numbers[:, None] == atoms.numbers
            assert distances[alike].min() > 1.2 * distances[~alike].min()
        assert atoms.get_chemical_formula(empirical=True) == start.get_chemical_formula(empirical=True)
    volumes = [atoms.get_volume() / len(atoms) for atoms in found]
    ideal = start.get_volume() / len(start)
    assert 0.95 * ideal < min(volumes) < max(volumes) < 1.34 * ideal and np.ptp(volumes) > 0.02 * ideal
    # A crystal's pairs are at few distances; here they are everywhere beyond the closest.
    distances = found[0].get_all_distances(mic=True)
    shell = distances[(distances > 2.5) & (distances < 5.0)]
    assert len(np.unique(shell.round(1))) > 20


def test_vacancies_lack_atoms_and_strains_do_not():
    crystal = bulk("Si", cubic=True)
    found = list(make_structures([crystal], ["strain", "vacancy", "rattle"], 5, 0, Recipe(atoms=60)))
    full = 8 * 8
    assert {len(a) for a in found[:5]} == {len(a) for a in found[10:]} == {full}
    assert all(full - 3 <= len(a) < full for a in found[5:10])
    assert np.std([a.get_volume() for a in found[:5]]) > 1
    assert np.ptp([a.get_volume() / full for a in found[10:]]) < 1e-9


def test_the_same_seed_makes_the_same_structures_and_each_depends_on_its_own_number():
    crystal = bulk("Cu", cubic=True)
    arguments = 1, Recipe(atoms=4, temperatures=(500.0,)), EMT()
    first = list(make_structures([crystal], ["strain", "melt"], 2, *arguments))
    again = list(make_structures([crystal], ["melt", "strain"], 2, *arguments))
    for one, other in zip(first, [*again[2:], *again[:2]], strict=True):
        np.testing.assert_array_equal(one.positions, other.positions)
    other = next(iter(make_structures([crystal], ["strain"], 1, 2, arguments[1])))
    assert not np.allclose(first[0].positions, other.positions)
    assert first[2].info["config_type"] == "melt" and not first[2].has("momenta")


def test_a_teacher_melts_what_the_file_holds(here):
    Path("t.yaml").write_text(
        "teachers: [{name: sw, pair_style: sw, pair_coeff: '* * Si.sw Si', elements: [Si]}, {name: emt, ase: emt.EMT}]"
    )
    write("start.xyz", bulk("Cu", cubic=True))
    make(
        "start.xyz",
        "--out",
        "u.xyz",
        "--families",
        "melt",
        "--number",
        3,
        "--atoms",
        4,
        "--temperatures",
        "300,900",
        "--teachers",
        "t.yaml",
        "--melt-by",
        "emt",
    )
    assert len(read("u.xyz", ":")) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--elements", "Si", "--families", "strain,foam"], "there is no family foam; choose from strain"),
        (["--elements", "Si", "--families", "melt"], "melt needs a teacher"),
        (["--elements", "Xx"], "not a chemical element: Xx"),
        (["--elements", "He"], "structure file"),
        ([], "either structure files"),
        (["--elements", "Si", "--strain", "2"], "strain is 2.0; it must be between 0.0 and 0.3"),
        (["--elements", "Si", "--temperatures", "hot"], "--temperatures is 'hot'"),
        (["molecule.xyz"], "periodic in three directions"),
    ],
)
def test_what_makes_no_structure_is_said_in_one_line(here, arguments, message):
    atoms = bulk("Si")
    atoms.pbc = False
    write("molecule.xyz", atoms)
    with pytest.raises(JaxffError) as caught:
        make("--out", "u.xyz", *arguments, "--number", 1)
    assert message in str(caught.value) and "\n" not in str(caught.value)
    assert not Path("u.xyz").exists()
