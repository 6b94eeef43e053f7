"""Cells cut out of large structures: around their centre nothing has changed, and nothing sits on top of another."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111
from ase.neighborlist import neighbor_list

from jax_models import ConfigError
from jaxff import JaxffCalculator
from jaxff.active.choice import choose
from jaxff.active.cutting import CLOSER, FACE, check_cut, cut_out, small_enough, surroundings
from jaxff.active.exploration import ERROR
from jaxff.active.folder import identity
from jaxff.active.settings import Selection

SILICON = Path(__file__).parents[1] / "lammps_examples" / "Si.jaxff"
CRYSTALS = {
    "Si": bulk("Si", cubic=True) * (6, 6, 6),
    "Cu, skew cell": bulk("Cu") * (14, 14, 14),
    "Mg, hexagonal": bulk("Mg") * (12, 12, 8),
    "SiC": bulk("SiC", "zincblende", a=4.36, cubic=True) * (7, 7, 7),
}


def around(atoms: Atoms, centre: int, radius: float):
    """Elements and relative positions of all atoms within the radius, in an order that does not depend on the cell."""
    first, second, vectors = neighbor_list("ijD", atoms, radius)
    mine = first == centre
    order = np.lexsort(np.round(vectors[mine], 3).T)
    return atoms.numbers[second[mine]][order], vectors[mine][order]


def same_surroundings(parent: Atoms, centre: int, piece: Atoms, middle: int, radius: float) -> bool:
    numbers, vectors = around(parent, centre, radius)
    found_numbers, found = around(piece, middle, radius)
    return np.array_equal(numbers, found_numbers) and np.abs(vectors - found).max() < 1e-6


def liquid(number: int = 2500, side: float = 36.0, seed: int = 0) -> Atoms:
    """Atoms at random of two elements, moved apart until none are closer than 2 Å."""
    generator = np.random.default_rng(seed)
    atoms = Atoms("Si" * number, generator.uniform(0, side, (number, 3)), cell=[side] * 3, pbc=True)
    atoms.numbers[generator.permutation(number)[: number // 3]] = 6
    for _ in range(200):
        first, distances, vectors = neighbor_list("idD", atoms, 2.0)
        if not len(first):
            break
        push = np.zeros((number, 3))
        np.add.at(push, first, -0.55 * (2.02 - distances)[:, None] * vectors / distances[:, None])
        atoms.positions += push
    atoms.wrap()
    return atoms


@pytest.mark.parametrize("name", CRYSTALS)
@pytest.mark.parametrize("rattle", [0.0, 0.06])
def test_around_its_centre_a_piece_is_the_crystal_it_was_cut_from(name, rattle):
    parent, radius = CRYSTALS[name].copy(), 5.0
    parent.rattle(rattle, seed=1)
    centre = len(parent) // 2 + 3
    piece = surroundings(parent, centre, radius)
    middle = piece.info["middle"]
    assert len(piece) < 0.3 * len(parent)
    assert piece.numbers[middle] == parent.numbers[centre]
    assert same_surroundings(parent, centre, piece, middle, radius)
    # No image of an atom comes into the radius.
    heights = piece.get_volume() / np.linalg.norm(np.cross(piece.cell[[1, 2, 0]], piece.cell[[2, 0, 1]]), axis=1)
    assert heights.min() > 2 * radius


@pytest.mark.parametrize("name", ["Si", "Cu, skew cell", "Mg, hexagonal"])
def test_the_box_is_a_multiple_of_the_crystals_period(name):
    """So that a cut supercell of a perfect crystal is the perfect crystal: each atom has the neighbours of its kind."""
    parent = CRYSTALS[name]
    piece = surroundings(parent, 5, 5.0)
    assert len(piece) / piece.get_volume() == pytest.approx(len(parent) / parent.get_volume(), rel=1e-9)
    neighbours = [np.bincount(neighbor_list("i", atoms, 4.0)) for atoms in (parent, piece)]
    assert set(neighbours[0]) == set(neighbours[1])


def test_energy_and_force_of_the_centre_are_those_in_the_large_structure():
    """The energy within a radius of one cutoff; the force, to which the energies of neighbours add, within two."""
    parent = CRYSTALS["Si"].copy()
    parent.rattle(0.1, seed=2)
    calculator = JaxffCalculator(SILICON, precision="double")
    cutoff = calculator.potential.cutoff
    wanted_energies, wanted = calculator.get_property("energies", parent), calculator.get_property("forces", parent)
    for radius in (cutoff, 2 * cutoff):
        piece = surroundings(parent, 700, radius)
        middle = piece.info["middle"]
        energies, forces = calculator.get_property("energies", piece), calculator.get_property("forces", piece)
        assert energies[middle] == pytest.approx(wanted_energies[700], abs=1e-8)
    np.testing.assert_allclose(forces[middle], wanted[700], atol=1e-7)


def test_in_a_liquid_the_seam_has_no_atoms_on_top_of_each_other_and_the_radius_loses_none():
    parent, radius = liquid(), 5.0
    for centre in (0, 1234):
        piece = surroundings(parent, centre, radius)
        assert same_surroundings(parent, centre, piece, piece.info["middle"], radius)
        distances = neighbor_list("d", piece, 3.0)
        assert distances.min() > CLOSER * 1.99
        assert len(piece) / piece.get_volume() == pytest.approx(len(parent) / parent.get_volume(), rel=0.15)


def test_a_slab_keeps_its_surface_and_what_is_not_periodic_is_not_cut():
    slab = fcc111("Cu", (16, 16, 8), vacuum=12.0, periodic=True)
    top = int(np.argmax(slab.positions[:, 2]))
    piece = surroundings(slab, top, 5.0)
    assert len(piece) < 0.2 * len(slab)
    assert same_surroundings(slab, top, piece, piece.info["middle"], 5.0)
    open_above = slab.copy()
    open_above.pbc = [True, True, False]
    piece = surroundings(open_above, top, 5.0)
    assert piece.pbc.tolist() == [True, True, False]
    assert np.ptp(piece.positions[:, 2]) == pytest.approx(np.ptp(slab.positions[:, 2]))
    drop = bulk("Cu", cubic=True) * (8, 8, 8)
    drop.pbc = False
    assert surroundings(drop, 0, 5.0) is None
    drop.cell = None
    assert surroundings(drop, 0, 5.0) is None
    assert surroundings(bulk("Cu", cubic=True) * 3, 0, 5.0) is None


def test_faces_go_between_atoms():
    """Atoms that lie in the faces of the box would be there twice, or not at all."""
    crystal = bulk("Po", "sc", a=3.0) * (12, 12, 12)
    piece = surroundings(crystal, 0, 9.0 - 1.40 - FACE - 0.01)  # a box of six periods, whose faces hold atoms
    assert len(piece) == round(piece.get_volume() / 27)
    assert neighbor_list("d", piece, 4.0).min() == pytest.approx(3.0)


def test_pieces_say_where_they_come_from_and_which_atoms_are_as_they_were():
    parent = CRYSTALS["Si"].copy()
    parent.rattle(0.05, seed=3)
    parent.info["config_type"] = "shear"
    parent.arrays[ERROR] = np.linspace(0.1, 0.2, len(parent))
    parent.arrays[ERROR][[100, 101, 900]] = [3.0, 2.9, 2.0]  # 100 and 101 are neighbours
    pieces = cut_out(parent, 6.0, cutoff=4.0)
    assert [piece.info["atom"] for piece in pieces[:2]] == [100, 900]
    for piece in pieces:
        assert piece.info["parent"] == identity(parent)
        assert piece.info["config_type"] == "shear"
        middle = int(np.argmax(piece.arrays[ERROR]))
        assert piece.arrays[ERROR][middle] == parent.arrays[ERROR][piece.info["atom"]]
        as_they_were = piece.arrays[ERROR] > 0
        assert as_they_were.sum() == 1 + (neighbor_list("i", piece, 2.0 + 1e-6) == middle).sum()
        assert same_surroundings(parent, piece.info["atom"], piece, middle, 6.0)


def test_large_structures_are_cut_where_asked_and_counted_where_not():
    parent = CRYSTALS["Si"].copy()
    parent.rattle(0.05, seed=3)
    parent.arrays[ERROR] = np.linspace(0.1, 0.2, len(parent))
    small = bulk("Si", cubic=True)
    small.arrays[ERROR] = np.full(8, 0.1)
    assert small_enough([small, parent], Selection(), 4.0) == ([small], 1)
    found, left_out = small_enough([small, parent], Selection(cut=5.0), 4.0)
    assert left_out == 0
    assert len(found) > 1
    assert all(len(piece) <= 400 for piece in found)
    assert small_enough([parent], Selection(cut=5.0, atoms=100), 4.0) == ([], 1)
    check_cut(Selection(cut=5.0), 5.0)
    check_cut(Selection(), 5.0)
    with pytest.raises(ConfigError, match="select.cut is 4.9 Å, and the potential's neighbours reach 5 Å"):
        check_cut(Selection(cut=4.9), 5.0)


def test_pieces_are_chosen_for_their_middle_and_not_for_their_seam():
    from jax_models import Potential

    potential = Potential.load(SILICON)
    parent = CRYSTALS["Si"].copy()
    parent.rattle(0.05, seed=3)
    parent.positions[900] += [0.5, 0.3, 0.0]
    parent.arrays[ERROR] = np.array(JaxffCalculator(potential).get_property(ERROR, parent))
    known = bulk("Si", cubic=True)
    chosen, left_out = choose(potential, [known], [parent], Selection(cut=6.0, per_round=1))
    assert left_out == 0
    [piece] = chosen
    # The moved atom, or a neighbour that its move concerns as much.
    assert parent.get_distance(piece.info["atom"], 900, mic=True) < 4.0
    assert 0 < (piece.arrays[ERROR] > 0).sum() < 10
    # What could not be labelled is not chosen again.
    [other], _ = choose(potential, [known], [parent], Selection(cut=6.0, per_round=1), failed=[identity(piece)])
    assert identity(other) != identity(piece)
