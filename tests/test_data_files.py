"""Files of other programs: all their frames, with energies, forces and stresses of the right sign, unit and order."""

from __future__ import annotations

import builtins
import copy
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import ase
import ase.db
import h5py
import numpy as np
import pytest
from ase import units
from ase.io import write
from training_data import emt_frames
from typer.testing import CliRunner

from jax_models import DatasetError
from jaxff.cli.app import app
from jaxff.io import Labels, read_frames, read_structures
from jaxff.io.frames import digest

VASP = Path(ase.__file__).parent / "test/testdata/vasp"


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def frames():
    return emt_frames(6)


def check_same(path, frames, groups=True):
    """That ``path`` gives the structures and labels of ``frames``."""
    found = read_structures(path)
    assert len(found) == len(frames)
    for s, atoms in zip(found, frames, strict=True):
        assert s.symbols == tuple(atoms.get_chemical_symbols())
        np.testing.assert_allclose(s.positions, atoms.positions, atol=1e-6)
        np.testing.assert_allclose(s.cell, atoms.cell.array, atol=1e-6)
        assert s.energy == pytest.approx(atoms.get_potential_energy(), abs=1e-6)
        np.testing.assert_allclose(s.forces, atoms.get_forces(), atol=1e-6)
        np.testing.assert_allclose(s.virial, atoms.get_stress(voigt=False) * atoms.get_volume(), atol=1e-5)
        assert s.group == (atoms.info["config_type"] if groups else "")


# --- ASE's databases


def test_all_rows_of_a_database_with_what_is_written_beside_them(frames):
    with ase.db.connect("a.db") as database:
        for atoms in frames:
            database.write(atoms, config_type=atoms.info["config_type"])
        renamed = frames[0].copy()
        forces, stress = frames[0].get_forces(), frames[0].get_stress()
        labels = {"REF_energy": frames[0].get_potential_energy(), "config_type": frames[0].info["config_type"]}
    check_same("a.db", frames)
    with ase.db.connect("b.db") as database:
        database.write(renamed, key_value_pairs=labels, data={"REF_forces": forces, "REF_stress": stress})
    check_same("b.db", frames[:1])
    with pytest.raises(DatasetError, match="no file none.db"):
        read_frames("none.db")
    assert not Path("none.db").exists() and not Path("a.db.lock").exists()


def test_rows_in_lmdb_as_fairchem_writes_them(frames):
    backend = pytest.importorskip("ase_db_backends.aselmdb", reason="pip install ase-db-backends")
    with backend.LMDBDatabase("a.aselmdb") as database:
        for atoms in frames:
            database.write(atoms, data={"config_type": atoms.info["config_type"]})
    check_same("a.aselmdb", frames)
    with pytest.raises(DatasetError, match="no file none.aselmdb"):
        read_frames("none.aselmdb")


def test_a_missing_package_is_named_and_pickles_are_refused(monkeypatch):
    usual = builtins.__import__

    def without(name, *rest, **more):
        if name.startswith("ase_db_backends"):
            raise ImportError(name)
        return usual(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    Path("a.aselmdb").write_bytes(b"")
    with pytest.raises(DatasetError, match=r"pip install 'jaxff\[lmdb\]'"):
        read_frames("a.aselmdb")
    with pytest.raises(DatasetError, match="pickles.*extended XYZ"):
        read_frames("oc20.lmdb")


# --- VASP


@pytest.fixture
def vasprun():
    """A relaxation of two steps, made of ASE's own example; what it says, read plainly."""
    source = VASP / "vasprun_pstress.xml"
    if not source.exists():
        pytest.skip("this ASE comes without its test data")
    tree = ET.parse(source)
    root = tree.getroot()
    first = root.find("calculation")
    second = copy.deepcopy(first)
    for item in second.findall("energy/i[@name='e_fr_energy']"):
        item.text = f"{float(item.text) - 0.5:.8f}"
    root.insert(list(root).index(first) + 1, second)
    tree.write("vasprun.xml")
    stress = [[float(x) for x in row.text.split()] for row in first.findall("varray[@name='stress']/v")]
    forces = [[float(x) for x in row.text.split()] for row in first.findall("varray[@name='forces']/v")]
    last = first.findall("scstep/energy")[-1]
    smeared, without = (float(last.find(f"i[@name='{name}']").text) for name in ("e_fr_energy", "e_0_energy"))
    return {"stress": np.array(stress), "forces": np.array(forces), "smeared": smeared, "without": without}


def test_every_step_of_a_vasprun_with_the_free_energy(vasprun, caplog):
    with caplog.at_level("INFO", "jaxff"):
        first, second = read_structures("vasprun.xml")
    # The energy of the last electronic step is what forces are derivatives of; that of the step has pressure in it.
    assert first.energy == pytest.approx(vasprun["smeared"], abs=2e-3)
    assert abs(first.energy - vasprun["without"]) > 1e-4
    assert second.energy == pytest.approx(first.energy - 0.5, abs=1e-6)
    np.testing.assert_allclose(first.forces, vasprun["forces"], atol=1e-9)
    # VASP prints kbar, positive where a cell wants to expand; a stress is positive where it wants to shrink.
    stress = -0.1 * units.GPa * vasprun["stress"]
    np.testing.assert_allclose(first.virial, stress * abs(np.linalg.det(first.cell)), atol=1e-6)
    assert "free energies, of which forces are the derivatives" in caplog.text and "e_0_energy" in caplog.text
    zero = read_structures("vasprun.xml", Labels(energy_key="e_0_energy"))
    assert zero[0].energy - first.energy == pytest.approx(vasprun["without"] - vasprun["smeared"], abs=1e-6)


@pytest.fixture
def outcar():
    """The text of ASE's example, twice the same step."""
    source = VASP / "OUTCAR_example_1"
    if not source.exists():
        pytest.skip("this ASE comes without its test data")
    text = source.read_text()
    start = text.rindex("\n", 0, text.rindex("\n", 0, text.index("Iteration")))
    Path("OUTCAR").write_text(text + text[start:])
    return text


def test_every_step_of_an_outcar(outcar):
    text = outcar
    found = read_structures("OUTCAR")
    assert len(found) == 2
    assert found[0].energy == pytest.approx(-68.22868532, abs=1e-6)  # TOTEN, not -68.23102426 without smearing
    inside = [line for line in text.splitlines() if line.startswith("  in kB")][-1]
    kbar = [float(x) for x in inside.split()[2:]]
    volume = abs(np.linalg.det(found[0].cell))
    stress = -0.1 * units.GPa * np.array(kbar)  # xx yy zz xy yz zx
    np.testing.assert_allclose(np.diag(found[0].virial), stress[:3] * volume, rtol=1e-6)
    np.testing.assert_allclose(
        [found[0].virial[0, 1], found[0].virial[1, 2], found[0].virial[0, 2]], stress[3:] * volume, rtol=1e-6, atol=1e-9
    )


def test_steps_whose_electrons_did_not_converge_are_named(vasprun, outcar, caplog):
    """They took as many electronic steps as were allowed."""
    number = len(re.findall("Iteration +1", outcar))
    for name, usual, fewer in (
        ("vasprun.xml", '"NELM">    60', '"NELM">    9'),
        ("OUTCAR", "NELM   =    120", f"NELM = {number}"),
    ):
        with caplog.at_level("INFO", "jaxff"):
            read_frames(name)
        assert "converged" not in caplog.text
        text = Path(name).read_text()
        assert usual in text
        Path(name).write_text(text.replace(usual, fewer))
        with caplog.at_level("INFO", "jaxff"):
            read_frames(name)
        assert "2 of 2 frames took all NELM" in caplog.text and "(frame 0, frame 1)" in caplog.text
        caplog.clear()


# --- DeePMD


def write_system(folder, frames, virial=True, mixed=False, sets=2):
    """As dpdata writes ``deepmd/npy`` and, with types of each frame, ``deepmd/npy/mixed``."""
    elements = sorted({symbol for atoms in frames for symbol in atoms.get_chemical_symbols()})
    folder.mkdir(parents=True)
    (folder / "type_map.raw").write_text("\n".join(elements) + "\n")
    kinds = np.array([[elements.index(symbol) for symbol in atoms.get_chemical_symbols()] for atoms in frames])
    np.savetxt(folder / "type.raw", np.zeros(kinds.shape[1]) if mixed else kinds[0], fmt="%d")
    for number, part in enumerate(np.array_split(np.arange(len(frames)), sets)):
        place, chosen = folder / f"set.{number:03d}", [frames[n] for n in part]
        place.mkdir()
        arrays = {
            "coord": [atoms.positions.ravel() for atoms in chosen],
            "box": [atoms.cell.array.ravel() for atoms in chosen],
            "energy": [atoms.get_potential_energy() for atoms in chosen],
            "force": [atoms.get_forces().ravel() for atoms in chosen],
        }
        if virial:  # the sum of positions times forces, as DeePMD defines it
            arrays["virial"] = [-(atoms.get_stress(voigt=False) * atoms.get_volume()).ravel() for atoms in chosen]
        if mixed:
            arrays["real_atom_types"] = kinds[part]
        for name, values in arrays.items():
            np.save(place / f"{name}.npy", np.array(values))


def test_folders_of_deepmd(frames):
    pure = [atoms for atoms in frames if set(atoms.get_chemical_symbols()) == {"Cu"}]
    write_system(Path("pure"), pure)
    check_same("pure", pure, groups=False)
    write_system(Path("mixed"), frames, mixed=True)
    check_same("mixed", frames, groups=False)
    write_system(Path("both/a"), pure)
    write_system(Path("both/b/c"), frames, mixed=True, sets=1)
    check_same("both", [*pure, *frames], groups=False)
    assert read_frames("both")[-1].info["system"] == "b/c"


def test_an_isolated_system_has_no_cell(frames):
    write_system(Path("m"), frames[:1], virial=False, sets=1)
    Path("m/nopbc").touch()
    (found,) = read_structures("m")
    assert not found.periodic.any() and found.virial is None


def test_what_deepmd_leaves_out_is_said(frames):
    write_system(Path("s"), frames[:2], mixed=True, sets=1)
    place = Path("s/set.000")

    def refused():
        with pytest.raises(DatasetError) as error:
            read_frames("s")
        return str(error.value)

    np.save(place / "energy.npy", np.zeros(5))
    assert "energy.npy has shape (5,); expected are 2 frames of 1 numbers" in refused()
    np.save(place / "energy.npy", np.array([{}, {}]), allow_pickle=True)
    assert "allow_pickle" in refused()  # NumPy's own words; nothing was loaded
    np.save(place / "energy.npy", np.zeros(2))
    (place / "box.npy").rename("box.npy")
    assert "has no box.npy" in refused() and "nopbc" in refused()
    Path("s/type_map.raw").write_text("Cu OW\n")
    assert "OW, which is no chemical element" in refused()
    Path("s/type_map.raw").write_text("Cu\n")
    Path("box.npy").rename(place / "box.npy")
    assert "types run from" in refused()
    Path("s/type_map.raw").unlink()
    assert "no type_map.raw" in refused()
    Path("empty").mkdir()
    with pytest.raises(DatasetError, match="folder without a type.raw"):
        read_frames("empty")


def test_training_reads_a_folder_and_remembers_it(frames):
    write_system(Path("data"), frames, mixed=True)
    before = digest(Path("data"))
    done = CliRunner().invoke(
        app, ["train", "data", "--out", "p.jaxff", "--dry-run", "--set", "data.weights={data: 2}"]
    )
    assert done.exit_code == 0, done.output
    assert "6 with a stress" in done.output and digest(Path("data")) == before
    np.save("data/set.000/energy.npy", np.zeros(3))
    assert digest(Path("data")) != before


# --- MACE


@pytest.mark.parametrize("layout", ["flat", "properties"])
def test_configurations_of_mace(frames, layout):
    """Both layouts that mace_prepare_data has written; ten of a batch, so that config_10 comes after config_9."""
    many = [frames[n % 6] for n in range(12)]
    with h5py.File("train.h5", "w") as file:
        batch = file.create_group("config_batch_0")
        for number, atoms in enumerate(many):
            group = batch.create_group(f"config_{number}")
            group["atomic_numbers"], group["positions"] = atoms.numbers, atoms.positions
            group["cell"], group["pbc"] = atoms.cell.array, atoms.pbc
            group["weight"], group["config_type"] = 1.0, atoms.info["config_type"]
            labels, weights = group, {}
            if layout == "properties":
                labels = group.create_group("properties")
                weights = group.create_group("property_weights")
            labels["energy"], labels["forces"] = atoms.get_potential_energy(), atoms.get_forces()
            labels["stress"], labels["dipole"] = np.zeros(6), "None"
            labels["virials"] = -atoms.get_stress(voigt=False) * atoms.get_volume()
            for name in ("energy", "forces", "stress", "virials"):
                # A stress that was not there is written as zeros of no weight.
                weight = 0.0 if name == "stress" else 1.0
                if layout == "properties":
                    weights[name] = weight
                else:
                    group[f"{name}_weight"] = weight
    check_same("train.h5", many)


def test_other_hdf5_files_are_refused():
    with h5py.File("other.h5", "w") as file:
        file["positions"] = np.zeros((2, 3))
    with pytest.raises(DatasetError, match="no configurations as mace_prepare_data"):
        read_frames("other.h5")
    with pytest.raises(DatasetError, match="no file none.h5"):
        read_frames("none.h5")
    Path("text.h5").write_text("not HDF5")
    with pytest.raises(DatasetError, match="cannot read text.h5"):
        read_frames("text.h5")


def test_several_kinds_together(frames):
    write("a.xyz", frames[:2])
    with ase.db.connect("b.db") as database:
        for atoms in frames[2:4]:
            database.write(atoms)
    write_system(Path("c"), frames[4:], mixed=True)
    done = CliRunner().invoke(app, ["data", "a.xyz", "b.db", "c"])
    assert done.exit_code == 0, done.output
    assert "a.xyz" in done.output and "b.db" in done.output
