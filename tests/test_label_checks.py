"""Labels that are wrong are named before training; sound data are left in peace. Real data, corrupted on purpose."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import pytest
from training_data import emt_structures

from jax_models.training.data.label_checks import suspicions
from jaxff.io import read_structures


@pytest.fixture(scope="module")
def data(shared_data):
    @functools.cache
    def read(name, most=None):
        structures = read_structures(shared_data / f"{name}.xyz.xz")
        return tuple(structures if most is None else structures[:: max(1, len(structures) // most)])

    return read


def texts(structures):
    return [str(suspicion) for suspicion in suspicions(structures)]


def scaled(structures, forces=1.0, virial=1.0):
    def of(array, factor):
        return None if array is None else factor * array

    return [
        dataclasses.replace(s, forces=of(s.forces, forces), virial=of(s.virial, virial)) if not s.isolated else s
        for s in structures
    ]


@pytest.mark.parametrize(
    "name",
    [
        *(f"mlearn/{element}_{part}" for element in ("Si", "Mo", "Cu", "Li") for part in ("train", "test")),
        "molecules/ethanol_train",
        "molecules/3bpa_train_300K",
        "water/water_train",
        "tio2/tio2_1000",
        "lial/lial_Train",
        "lial/lial_Validation",
    ],
)
def test_sound_data_give_no_warning(data, name):
    assert texts(data(name)) == []


SETS = ["mlearn/Si_train", "mlearn/Mo_train", "mlearn/Li_train", "molecules/ethanol_train", "water/water_train"]


@pytest.mark.parametrize("name", [*SETS, "tio2/tio2_1000"])
def test_forces_of_wrong_sign_or_in_kcal_are_found(data, name):
    assert any("forces have the wrong sign" in text for text in texts(scaled(data(name), forces=-1.0)))
    (text,) = texts(scaled(data(name), forces=23.0605))
    assert "not in the same units" in text and "kcal/mol" in text


def test_energies_in_kcal_or_hartree_are_found(data):
    for factor, unit in ((23.0605, "kcal/mol"), (1 / 27.2114, "Hartree")):
        wrong = [dataclasses.replace(s, energy=factor * s.energy) for s in data("molecules/ethanol_train")]
        assert any(unit in text for text in texts(wrong))


@pytest.mark.parametrize("name", ["mlearn/Si_train", "mlearn/Mo_train", "mlearn/Li_train"])
def test_stresses_in_kbar_or_of_wrong_sign_are_found(data, name):
    kbar = texts(scaled(data(name), virial=1602.1766))
    assert any("stresses are not in eV/Å^3" in text and "kbar" in text for text in kbar)
    vasp = texts(scaled(data(name), virial=-1602.1766))
    assert any("stresses are not in eV/Å^3" in text and "sign is wrong" in text for text in vasp)
    assert any("stresses have the wrong sign" in text for text in texts(scaled(data(name), virial=-1.0)))


@pytest.mark.parametrize("name", SETS)
def test_single_wrong_frames_are_named(data, name):
    structures = list(data(name))
    bound = [n for n, s in enumerate(structures) if len(s) > 2 and np.abs(s.forces).max() > 0.1]
    zero, off, high = bound[3], bound[7], bound[11]
    structures[zero] = dataclasses.replace(structures[zero], forces=np.zeros_like(structures[zero].forces))
    structures[off] = dataclasses.replace(structures[off], energy=structures[off].energy + 100.0)
    forces = structures[high].forces.copy()
    forces[0, 1] += 500.0
    structures[high] = dataclasses.replace(structures[high], forces=forces)
    found = texts(structures)
    for number, what in (
        (zero, "all exactly zero"),
        (off, "energy per atom more than"),
        (high, "have a force of up to"),
    ):
        assert any(what in text and text.endswith(f"({structures[number].name})") for text in found)
    assert len(found) == 3


def test_charges_and_copies_that_disagree_are_named():
    structures = emt_structures(12)
    structures[4] = dataclasses.replace(structures[4], charge=1.0)
    structures.append(dataclasses.replace(structures[0], energy=structures[0].energy + 3.0, name="the copy"))
    found = texts(structures)
    assert any("net charge (+1)" in text and "frame 4" in text for text in found)
    assert any("copies of one another" in text and "the copy" in text for text in found)
