"""Labels under other packages' names: found and said once, never guessed between two."""

from __future__ import annotations

import numpy as np
import pytest
from ase.io import write
from training_data import emt_frames
from typer.testing import CliRunner

from jax_models import DatasetError
from jaxff.cli.app import app
from jaxff.evaluation import read_labelled
from jaxff.io import Labels, read_frames, read_labelled_frames, read_structures, read_teacher_frames, recognised


@pytest.fixture(scope="module")
def frames():
    return emt_frames(6)


def renamed(frames, energy=None, forces=None, stress=None, virial=None, shift=0.0, keep=False):
    """``frames`` with their labels under other names, beside the usual ones or instead of them."""
    result = []
    for atoms in frames:
        copy = atoms.copy()
        if keep:
            copy.calc = atoms.calc
        tension = atoms.get_stress(voigt=False)
        for key, value in (
            (energy, atoms.get_potential_energy() + shift),
            (stress, tension),
            (virial, -tension * atoms.get_volume()),
        ):
            if key:
                copy.info[key] = value
        if forces:
            copy.arrays[forces] = atoms.get_forces()
        result.append(copy)
    return result


def invoke(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.mark.parametrize(
    "names",
    [
        {"energy": "REF_energy", "forces": "REF_forces", "stress": "REF_stress"},
        {"energy": "dft_energy", "forces": "dft_forces", "virial": "dft_virial"},
        {"energy": "energy_ref", "forces": "forces_ref", "stress": "stress_ref"},
        {"energy": "DFT_energy", "forces": "force", "virial": "virials"},
        {"energy": "Energy", "forces": "Forces", "virial": "REF_virials"},
        {"energy": "TotEnergy", "forces": "force", "virial": "virial"},
        {"energy": "vasp_total_energy", "forces": "DFT_force", "stress": "DFTstress"},
    ],
)
def test_common_names_give_the_same_structures(frames, names, tmp_path):
    write(tmp_path / "usual.xyz", frames)
    write(tmp_path / "other.xyz", renamed(frames, **names))
    for one, other in zip(
        read_structures(tmp_path / "usual.xyz"), read_structures(tmp_path / "other.xyz"), strict=True
    ):
        assert one.energy == pytest.approx(other.energy, abs=1e-6)
        np.testing.assert_allclose(one.forces, other.forces, atol=1e-6)
        np.testing.assert_allclose(one.virial, other.virial, atol=1e-5)


def test_what_was_found_is_said_once(frames, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write("a.xyz", renamed(frames, energy="REF_energy", forces="REF_forces", virial="REF_virial"))
    write("b.xyz", frames)
    done = invoke("train", "a.xyz", "b.xyz", "--out", "p.jaxff", "--dry-run", "--set", "model.cutoff=4")
    assert done.exit_code == 0, done.output
    notes = [line for line in done.output.splitlines() if line.startswith("note:")]
    assert notes == [
        "note: a.xyz: no energy, forces, virial of the usual name; taken are REF_energy, REF_forces, REF_virial "
        "(minus stress times volume)"
    ]
    again = invoke("train", "a.xyz", "--out", "p.jaxff", "--dry-run", "--set", "model.cutoff=4")
    assert again.output.count("note: a.xyz") == 1


def test_two_names_with_different_values_are_refused_by_name(frames, tmp_path):
    both = [
        *renamed(renamed_with_labels(frames, energy="dft_energy"), energy="REF_energy", shift=1.0, keep=True),
    ]
    for atoms in both:
        atoms.calc = None
    write(tmp_path / "two.xyz", both)
    with pytest.raises(DatasetError, match="REF_energy and dft_energy differ.*data.energy_key"):
        read_structures(tmp_path / "two.xyz")
    assert read_structures(tmp_path / "two.xyz", Labels(energy_key="REF_energy"))[0].energy == pytest.approx(
        frames[0].get_potential_energy() + 1.0, abs=1e-6
    )
    with pytest.raises(DatasetError, match="--energy-key NAME"):
        read_labelled(tmp_path / "two.xyz")


def renamed_with_labels(frames, **names):
    """As `renamed`, with a calculator that still tells the labels."""
    result = renamed(frames, **names)
    for atoms, old in zip(result, frames, strict=True):
        atoms.calc = old.calc
    return result


def test_two_names_with_equal_values_are_one(frames):
    equal = renamed(renamed_with_labels(frames, energy="dft_energy"), energy="REF_energy", keep=True)
    for atoms in equal:
        atoms.calc = None
    assert recognised(equal, "equal", Labels()).energy_key in ("REF_energy", "dft_energy")


def test_signs_of_a_stress_and_a_virial_must_agree(frames):
    """A virial is minus stress times volume: of the other sign beside a stress, neither is taken silently."""
    fitting = renamed(frames, energy="REF_energy", stress="REF_stress", virial="REF_virial")
    assert recognised(fitting, "fitting", Labels()).stress_key == "REF_stress"
    for atoms in fitting:
        atoms.info["REF_virial"] = -atoms.info["REF_virial"]
    with pytest.raises(DatasetError, match="REF_stress and REF_virial differ.*data.stress_key or data.virial_key"):
        recognised(fitting, "wrong", Labels())
    # Either may be named.
    assert recognised(fitting, "said", Labels(virial_key="REF_virial")).virial_key == "REF_virial"


def test_a_virial_that_was_named_goes_before_a_stress_that_was_not(frames, tmp_path):
    write(tmp_path / "v.xyz", renamed(frames, energy="energy_1", virial="my_virial", keep=True))
    usual, named = (read_structures(tmp_path / "v.xyz", labels) for labels in (None, Labels(virial_key="my_virial")))
    np.testing.assert_allclose(usual[0].virial, named[0].virial, atol=1e-5)
    moved = renamed(frames, virial="my_virial", keep=True)
    for atoms in moved:
        atoms.info["my_virial"] = 2 * atoms.info["my_virial"]
    write(tmp_path / "w.xyz", moved)
    doubled = read_structures(tmp_path / "w.xyz", Labels(virial_key="my_virial"))
    np.testing.assert_allclose(doubled[0].virial, 2 * usual[0].virial, atol=1e-5)


def test_a_name_that_was_set_is_not_second_guessed(frames, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write("a.xyz", renamed(frames, energy="REF_energy", forces="REF_forces"))
    done = invoke("train", "a.xyz", "--out", "p.jaxff", "--dry-run", "--set", "data.forces_key=REF_force")
    assert done.exit_code == 1
    assert "data.forces_key is 'REF_force', but no frame has that" in str(done.exception)
    with pytest.raises(DatasetError, match="no 'DFT_energy' among its labels"):
        read_structures("a.xyz", Labels(energy_key="DFT_energy"))


def test_the_usual_name_goes_first_and_another_is_said(frames, caplog):
    beside = renamed(frames, energy="REF_energy", shift=2.0, keep=True)
    with caplog.at_level("INFO", "jaxff"):
        assert recognised(beside, "a.xyz", Labels()).energy_key == "energy"
    assert "energy and REF_energy differ, and energy is used" in caplog.text


def test_labels_of_two_methods_are_not_mixed(frames):
    """Energies of one method with forces of another are refused."""
    mixed = renamed(frames, energy="REF_energy", forces="REF_forces", shift=2.0)
    for atoms, old in zip(mixed, frames, strict=True):
        atoms.info["energy"] = old.get_potential_energy()
    with pytest.raises(DatasetError, match="two methods could be mixed"):
        recognised(mixed, "a.xyz", Labels())


def test_a_teacher_called_dft_stays_a_teacher(frames, tmp_path):
    write(tmp_path / "t.xyz", renamed(frames, energy="energy_dft", forces="forces_dft"))
    teachers, structures = read_teacher_frames(tmp_path / "t.xyz")
    assert list(teachers[0]) == ["dft"] and np.isnan(structures[0].energy)
    # Beside labels of its own a file has no others.
    own = [atoms.copy() for atoms in frames]
    for atoms, old in zip(own, frames, strict=True):
        atoms.info |= {"energy": old.get_potential_energy(), "stress_dft": old.get_stress(voigt=False)}
    assert recognised(own, "own.xyz", Labels()) == Labels()


def test_numbers_of_another_shape_are_no_labels(frames):
    """Energies of atoms are not the energy, and a text is none."""
    odd = [atoms.copy() for atoms in frames]
    for atoms in odd:
        atoms.arrays["REF_energy"] = np.ones(len(atoms))
        atoms.info["REF_forces"] = "none"
    assert recognised(odd, "odd.xyz", Labels()) == Labels()


def test_labels_go_under_the_usual_names_where_files_are_put_together(frames, tmp_path):
    """As an active loop does, which adds frames that its labeller has labelled."""
    write(tmp_path / "a.xyz", renamed(frames, energy="REF_energy", forces="REF_forces", virial="REF_virials"))
    found = read_labelled_frames(tmp_path / "a.xyz")
    write(tmp_path / "together.xyz", [*found, *frames])
    structures = read_structures(tmp_path / "together.xyz")
    for one, other in zip(structures[: len(frames)], structures[len(frames) :], strict=True):
        assert one.energy == pytest.approx(other.energy, abs=1e-6)
        np.testing.assert_allclose(one.forces, other.forces, atol=1e-6)
        np.testing.assert_allclose(one.virial, other.virial, atol=1e-5)
    write(tmp_path / "usual.xyz", frames)
    assert read_labelled_frames(tmp_path / "usual.xyz")[0].get_potential_energy() == pytest.approx(
        frames[0].get_potential_energy()
    )


def test_evaluate_finds_them_too(frames, tmp_path):
    write(tmp_path / "a.xyz", renamed(frames, energy="REF_energy", forces="REF_forces", virial="REF_virials"))
    found = read_labelled(tmp_path / "a.xyz")
    assert found[0].energy == pytest.approx(frames[0].get_potential_energy(), abs=1e-6)
    np.testing.assert_allclose(found[0].stress, frames[0].get_stress(), atol=1e-7)
    assert len(read_frames(tmp_path / "a.xyz")) == len(found)
