"""Potentials of pacemaker (.yace) give the numbers of pair_style pace's code (data/make_pace_reference.py)."""

from __future__ import annotations

import json
from pathlib import Path

import jax
import numpy as np
import pytest
from plain_reference import evaluate_together

from jax_models import ModelFileError, Potential
from jax_models.cluster_expansion.row_gather import sum_rows, take_rows
from jax_models.imports import potential_from_file

DATA = Path(__file__).parent / "data"
STRUCTURES = ("sheared", "molecule", "close", "alone")


def reference(name: str) -> list[dict]:
    found = json.loads((DATA / "pace_reference.json").read_text())
    return [found[f"{name} {structure}"] for structure in STRUCTURES]


def given(case: dict) -> tuple:
    values = case["given"]
    return np.array(values["positions"]), np.array(values["cell"]), values["periodic"], values["symbols"]


@pytest.mark.parametrize("name", ["shifted", "bessel", "power"])
def test_imported_potential_gives_the_original_numbers(name):
    potential = potential_from_file(DATA / f"pace_{name}.yace")
    cases = reference(name)
    for structure, case, found in zip(STRUCTURES, cases, evaluate_together(potential, map(given, cases)), strict=True):
        n = len(case["given"]["symbols"])
        assert abs(found["energy"] - case["energy"]) < 1e-9 * n, structure
        np.testing.assert_allclose(found["forces"], case["forces"], rtol=0, atol=1e-8, err_msg=structure)
        if "stress" in case:
            stress = found["virial"] / np.linalg.det(case["given"]["cell"])
            np.testing.assert_allclose(stress, case["stress"], rtol=0, atol=1e-9)


def test_saved_and_loaded_it_is_the_same_potential(tmp_path):
    potential_from_file(DATA / "pace_shifted.yace").save(tmp_path / "pace.jaxff")
    potential = Potential.load(tmp_path / "pace.jaxff")
    assert potential.elements == ("Al", "Ni") and "pacemaker" in potential.provenance["imported"]
    case = reference("shifted")[1]
    for double, tolerance in ((True, 1e-8), (False, 1e-4)):
        found = potential.evaluate(*given(case), double=double)
        np.testing.assert_allclose(found["forces"], case["forces"], rtol=0, atol=tolerance)


def test_sums_of_rows_are_the_adjoint_of_taking_them():
    generator = np.random.default_rng(0)
    index = generator.integers(0, 7, 40)
    index[index == 3] = 2  # a row that nobody takes
    x = generator.normal(size=(40, 5)).astype(np.float32)
    expected = np.zeros((8, 5), np.float32)
    np.add.at(expected, index, x)
    np.testing.assert_allclose(sum_rows(x, index, 8), expected, atol=1e-5)
    found = jax.grad(lambda y: (take_rows(y, index) * x).sum())(np.zeros((8, 5), np.float32))
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("SBessel", "ACE.jl.Basic"), "radial basis ACE.jl.Basic, which cannot be converted; ChebExpCos"),
        (("inner_cutoff_type: distance", "inner_cutoff_type: zbl"), "type zbl; only density or distance"),
        (("npoti: FinnisSinclair", "npoti: Magic"), "embedding function Magic, which cannot"),
        (("elements: [Si]", "elements: [Qq]"), "not a chemical element: Qq"),
        (("E0: [0]", "E0: [0, 1]"), "2 energies E0 for 1 elements"),
        (("bonds:", "bond:"), "not a complete .yace file: KeyError 'bonds'"),
        (("ns: [1]", "ns: [9]"), "indices that its bonds do not have"),
        (("ns: [1]", "ns: [1, 1]"), "not a complete .yace file: ValueError"),
        (("elements: [Si]", "elements: [Si"), "cannot read .* expected"),
        (("deltaSplineBins", "!!python/object/apply:os.system ['true']\ndeltaSplineBins"), "cannot read"),
    ],
)
def test_what_cannot_be_converted_is_refused_by_name(tmp_path, change, message):
    text = (DATA / "pace_bessel.yace").read_text()
    assert change[0] in text
    (tmp_path / "si.yace").write_text(text.replace(*change))
    with pytest.raises(ModelFileError, match=message):
        potential_from_file(tmp_path / "si.yace")
