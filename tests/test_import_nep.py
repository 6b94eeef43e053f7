"""Potentials of GPUMD (nep.txt) give GPUMD's numbers (data/make_nep_reference.py), and run like any other."""

from __future__ import annotations

import json
from pathlib import Path

import jax
import numpy as np
import pytest
from descriptor_invariants import check_descriptor
from nep_files import CASES, nep_text, structures
from plain_reference import evaluate_together

from jax_models import ModelFileError, Potential
from jax_models.descriptors.nep import NEP
from jax_models.imports import potential_from_file
from jax_models.imports.nep import RADII

DATA = Path(__file__).parent / "data"


def imported(tmp_path, **case) -> Potential:
    path = tmp_path / "nep.txt"
    path.write_text(nep_text(**case))
    return potential_from_file(path)


@pytest.mark.parametrize("name", CASES)
def test_imported_potential_gives_the_original_numbers(tmp_path, name):
    potential = imported(tmp_path, **CASES[name])
    assert potential.provenance["imported"] == f"GPUMD {CASES[name]['kind']}"
    reference = json.loads((DATA / "nep_reference.json").read_text())
    given = structures(CASES[name]["elements"])
    for structure, found in zip(given, evaluate_together(potential, given.values()), strict=True):
        expected = reference[f"{name} {structure}"]
        for key, tolerance in (("energies", 1e-9), ("forces", 1e-8), ("virial", 1e-8)):
            np.testing.assert_allclose(found[key], expected[key], rtol=0, atol=tolerance, err_msg=f"{structure} {key}")


def test_saved_loaded_and_for_a_part_of_its_elements_it_is_the_same_potential(tmp_path):
    whole = imported(tmp_path, **CASES["nep4_zbl"])
    whole.save(tmp_path / "nep.jaxff")
    part = Potential.load(tmp_path / "nep.jaxff").only(["H", "C"])
    assert part.model.descriptor.radial_weights.shape[:2] == (2, 2)
    given = structures(["C", "H"])["molecule"]
    (expected,) = evaluate_together(whole, [given])
    np.testing.assert_allclose(part.evaluate(*given)["forces"], expected["forces"], atol=1e-12)


def test_cutoffs_by_covalent_radii(tmp_path):
    """Files before 2025 have the factors behind the cutoffs, and their ZBL begins at half its end."""
    case = dict(kind="nep4_zbl", elements=("Si", "O"), zbl="0.7 2.0", cutoff="5 4 80 40 1.9 1.4 0.6")
    text = nep_text(**case).replace("0.6 80 40", "0.6")
    (tmp_path / "nep.txt").write_text(text)
    potential = potential_from_file(tmp_path / "nep.txt")
    sums = np.add.outer([RADII["Si"], RADII["O"]], [RADII["Si"], RADII["O"]])
    np.testing.assert_allclose(potential.model.descriptor.pair_cutoffs[0], np.minimum(1.9 * sums, 5))
    np.testing.assert_allclose(potential.model.descriptor.pair_cutoffs[1], np.minimum(1.4 * sums, 4))
    np.testing.assert_allclose(potential.model.priors[0].outer, np.minimum(0.6 * sums, 2))
    np.testing.assert_allclose(potential.model.priors[0].inner, 0.5 * np.minimum(0.6 * sums, 2))
    assert potential.cutoff == pytest.approx(min(1.9 * 2 * RADII["Si"], 5))


@pytest.mark.slow
def test_descriptor_is_one_of_ours():
    """The cosine's second derivative jumps at the cutoff."""

    def make(elements, cutoff):
        settings = dict(l_max=2, products=("222", "1111"), n_max=(2, 1), basis_size=(3, 3), pairwise_cutoffs=True)
        return NEP(elements, cutoff, angular_cutoff=0.8 * cutoff, key=jax.random.PRNGKey(0), **settings)

    check_descriptor(make, smooth_order=1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("nep4 ", "nep4_dipole "), "nep4_dipole, which cannot be converted: it gives dipoles"),
        (("nep4 ", "nep4_charge1 "), "long distances"),
        (("nep4 ", "nep4_temperature "), "depends on the temperature"),
        (("nep4 ", "nep9 "), "this kind is not known"),
        (("nep4 2 Pb", "nep4 2 Qq"), "does not list 2 different elements: Qq Te"),
        (("n_max 3 2", "n_max 3"), "a line of n_max and 2 numbers was expected"),
        (("n_max 3 2", "n_max 3 2.5"), "whole numbers"),
        (("n_max 3 2", "n_max 3 1"), "its header asks for"),
        (("n_max 3 2", "n_max 9 2"), "its header asks for more"),
        (("ANN 6 0", "ANN 6 6"), "second hidden layer"),
        (("cutoff 4.6 3.4", "cutoff 4.6 -3.4"), "not positive"),
        (("e+00\n", "e+00 one\n"), "stands something else"),
        (("e+00\n", "e+999\n"), "not all finite"),
    ],
)
def test_what_cannot_be_converted_is_refused_by_name(tmp_path, change, message):
    text = nep_text(**CASES["nep4"])
    assert change[0] in text
    (tmp_path / "nep.txt").write_text(text.replace(*change, 1))
    with pytest.raises(ModelFileError, match=message):
        potential_from_file(tmp_path / "nep.txt")
    (tmp_path / "nep.txt").write_text("\n".join(text.splitlines()[:4]))
    with pytest.raises(ModelFileError, match="ends within its header"):
        potential_from_file(tmp_path / "nep.txt")
