"""`jaxff train --from`: a trained potential goes on learning, on other data and with elements that it lacked."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from ase.io import write
from conftest import make_potential
from training_data import TINY, emt_frames, emt_structures

from jax_models import ConfigError, Potential
from jax_models.training.gradient.finetuning import Start, grown
from jax_models.training.gradient.trainer import train
from jax_models.training.settings import Settings
from jaxff.cli.app import app
from jaxff.train.replay import with_replay
from jaxff.train.training_data import TrainingData

CUTOFF = 4.2
QUICK = Settings(epochs=3, batch_structures=2, validation_fraction=0.0)


@pytest.fixture(scope="module")
def copper():
    return train(emt_structures(12, alloy=False), TINY, CUTOFF, dataclasses.replace(QUICK, epochs=60)).potential


def force_error(potential, structures):
    found = [potential.evaluate(s.positions, s.cell, s.periodic, list(s.symbols)) for s in structures]
    return np.sqrt(
        np.mean(np.concatenate([f["forces"] - s.forces for f, s in zip(found, structures, strict=True)]) ** 2)
    )


def test_fine_tuning_starts_where_the_file_ended(copper):
    """Energies of another method, 7 eV an atom higher: nothing else is left to learn, and little changes."""
    moved = [dataclasses.replace(s, energy=s.energy + 7.0 * len(s)) for s in emt_structures(12, alloy=False)]
    still = dataclasses.replace(QUICK, learning_rate=1e-9)
    potential = train(moved, {}, 0.0, still, start=copper).potential
    np.testing.assert_allclose(potential.reference_energies, copper.reference_energies + 7.0, atol=0.02)
    test = emt_structures(4, alloy=False, seed=3)
    assert force_error(potential, test) == pytest.approx(force_error(copper, test), rel=1e-3)
    assert potential.architecture == copper.architecture


def test_an_element_is_added_and_the_old_one_kept(copper):
    """With three frames of the alloy, after a start from copper, the error is less than without that start."""
    alloy, test = emt_structures(16)[1:8], emt_structures(8, seed=4)
    still = train(alloy, {}, 0.0, dataclasses.replace(QUICK, learning_rate=1e-9), start=copper).potential
    assert still.elements == ("Cu", "Au")
    pure = emt_structures(4, alloy=False, seed=3)
    assert force_error(still, pure) == pytest.approx(force_error(copper, pure), rel=1e-3)
    settings = dataclasses.replace(QUICK, epochs=40)
    started = train(alloy, {}, 0.0, settings, start=copper).potential
    fresh = train(alloy, TINY, CUTOFF, settings).potential
    assert force_error(started, pure) < force_error(fresh, pure)
    assert np.isfinite(force_error(started, test))


@pytest.mark.parametrize(
    "architecture",
    [TINY, {"name": "painn", "n_atom_basis": 8, "n_interactions": 2}],
    ids=["ace", "painn"],
)
def test_grown_models_keep_their_energies(architecture):
    potential = train(emt_structures(4, alloy=False), architecture, CUTOFF, QUICK).potential
    model = grown(potential, ("Cu", "O", "Au"))
    s = emt_structures(1, alloy=False)[0]
    larger = dataclasses.replace(
        potential,
        model=model,
        contract=dataclasses.replace(potential.contract, elements=("Cu", "O", "Au")),
        reference_energies=np.append(potential.reference_energies, [0, 0]),
    )
    arguments = s.positions, s.cell, s.periodic, list(s.symbols)
    np.testing.assert_allclose(
        larger.evaluate(*arguments)["forces"], potential.evaluate(*arguments)["forces"], atol=1e-6
    )


def test_features_that_change_with_the_elements_are_refused():
    potential = make_potential(("Cu",), architecture={"descriptor": {"name": "acsf"}})
    with pytest.raises(ConfigError, match="Au cannot be added to this potential: the features of acsf change"):
        Start.of(potential, emt_structures(4))


@pytest.mark.slow
def test_what_is_replayed_is_not_forgotten(copper, tmp_path):
    """New data of a functional whose forces are half as large, and energies 7 eV an atom higher; the potential keeps
    what it knew of other volumes only where these are replayed."""
    new = [
        dataclasses.replace(s, energy=0.5 * s.energy + 7.0 * len(s), forces=0.5 * s.forces, virial=0.5 * s.virial)
        for s in emt_structures(8, alloy=False)
    ]
    known = emt_frames(8, alloy=False, seed=5)
    for atoms in known:
        atoms.set_cell(atoms.cell * 0.93, scale_atoms=True)
        atoms.calc = None
    write(tmp_path / "known.xyz", known)
    settings = dataclasses.replace(QUICK, epochs=30)
    data = with_replay(TrainingData(new, None, []), copper, [tmp_path / "known.xyz"])
    replayed = data.structures[len(new) :]
    assert {s.group for s in replayed} == {"replay"}
    # Their energies are on the scale of the new data.
    old = [copper.evaluate(s.positions, s.cell, s.periodic, list(s.symbols)) for s in replayed]
    shifts = [(s.energy - found["energy"]) / len(s) for s, found in zip(replayed, old, strict=True)]
    assert np.ptp(shifts) < 1e-4
    assert 6.0 < shifts[0] < 8.5
    forgetful, mindful = (train(part, {}, 0.0, settings, start=copper).potential for part in (new, data.structures))
    assert force_error(mindful, replayed) < 0.5 * force_error(forgetful, replayed)


def test_replay_needs_something_to_start_from(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write("alloy.xyz", emt_frames(2))
    with pytest.raises(ConfigError, match="--replay needs --from"):
        app(["train", "alloy.xyz", "--replay", "alloy.xyz", "--out", "x.jaxff"], standalone_mode=False)


def test_from_on_the_command_line(copper, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    copper.save("cu.jaxff")
    write("alloy.xyz", emt_frames(6))
    write("copper.xyz", emt_frames(4, alloy=False, seed=2))
    command = ["train", "alloy.xyz", "--from", "cu.jaxff", "--replay", "copper.xyz", "--out", "alloy.jaxff"]
    app([*command, "--epochs", "2"], standalone_mode=False)
    potential = Potential.load("alloy.jaxff")
    assert list(potential.provenance["replay"]) == ["copper.xyz"]
    assert potential.elements == ("Cu", "Au")
    assert list(potential.provenance["start"]) == ["cu.jaxff"]
    for extra, message in (
        (["--model", "soap"], "the model is that of cu.jaxff"),
        (["--set", "training.method=linear"], "does not start from a potential"),
    ):
        with pytest.raises(ConfigError, match=message):
            app(["train", "alloy.xyz", "--from", "cu.jaxff", "--out", "x.jaxff", *extra], standalone_mode=False)
