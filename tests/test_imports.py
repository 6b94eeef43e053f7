"""`jaxff import`: what is not understood is refused, no code is run, and few elements of many suffice."""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from plain_reference import evaluate
from typer.testing import CliRunner

from jax_models import ConfigError, ModelFileError, Potential
from jax_models.contract import Contract
from jax_models.imports import potential_from_file
from jax_models.imports.torch_file import Inert, read_torch
from jax_models.models import build, completed
from jax_models.potential import MANY_ELEMENTS
from jaxff import JaxffCalculator
from jaxff.cli.app import app

MACE = Path(__file__).parent / "data" / "mace_reference.safetensors"
ELEMENTS = ("H", "C", "N", "O", "Al", "Si", "Ti", "Fe", "Ni", "Cu")


def test_a_file_of_unknown_kind_is_refused(tmp_path):
    (tmp_path / "potential.txt").write_text("1 2 3")
    with pytest.raises(ModelFileError, match=r"potential.txt is none of the files that can be imported: .*MACE"):
        potential_from_file(tmp_path / "potential.txt")
    with pytest.raises(ModelFileError, match=r"cannot read .*absent"):
        potential_from_file(tmp_path / "absent")
    with pytest.raises(ConfigError, match="has no option surface"):
        potential_from_file(MACE, surface=1)


def test_the_command_keeps_the_elements_that_are_asked_for(tmp_path):
    out = tmp_path / "si.jaxff"
    outcome = CliRunner().invoke(app, ["import", str(MACE), "--out", str(out), "--elements", "Si"])
    assert outcome.exit_code == 0, outcome.output
    assert "mace-torch" in outcome.output
    assert "please cite: Batatia" in outcome.output
    assert "licence: not stated in the file" in outcome.output
    atoms = bulk("Si", cubic=True)
    atoms.rattle(0.1, seed=1)
    given = atoms.positions, atoms.cell.array, True, atoms.get_chemical_symbols()
    whole, part = potential_from_file(MACE).evaluate(*given), Potential.load(out).evaluate(*given)
    assert part["energy"] == pytest.approx(whole["energy"], abs=1e-10)
    np.testing.assert_allclose(part["forces"], whole["forces"], atol=1e-10)


def test_a_licence_that_restricts_is_said_and_kept(tmp_path):
    command = ["import", str(MACE), "--out", str(tmp_path / "x.jaxff"), "--license"]
    assert "restricts use or redistribution" in CliRunner().invoke(app, [*command, "CC-BY-NC-4.0"]).output
    assert Potential.load(tmp_path / "x.jaxff").provenance["license"] == "CC-BY-NC-4.0"
    assert "restricts use" not in CliRunner().invoke(app, [*command, "MIT"]).output


@pytest.fixture(scope="module")
def many():
    """A network that knows ten elements."""
    architecture = {"name": "mace", "hidden_irreps": "4x0e + 4x1o", "max_ell": 2, "correlation": 2, "radial_MLP": [8]}
    model = build(architecture, ELEMENTS, 4.0)
    return Potential(Contract.of(model, ELEMENTS, 4.0), model, completed(architecture), np.arange(10.0))


def test_of_many_elements_those_that_occur_are_compiled(many):
    atoms = bulk("NiAl", "cesiumchloride", a=2.9) * (2, 1, 1)
    atoms.rattle(0.1, seed=1)
    atoms.calc = JaxffCalculator(many, precision="double")
    expected = evaluate(many, atoms.positions, atoms.cell.array, True, atoms.get_chemical_symbols())
    assert atoms.get_potential_energy() == pytest.approx(expected["energy"], abs=1e-6)
    np.testing.assert_allclose(atoms.get_forces(), expected["forces"], atol=1e-6)
    assert set(atoms.calc.evaluator.potential.elements) == {"Al", "Ni"}
    # Other elements, in the same calculator.
    atoms.symbols[:] = ["Cu", "Cu", "O", "Fe"]
    expected = evaluate(many, atoms.positions, atoms.cell.array, True, atoms.get_chemical_symbols())
    assert atoms.get_potential_energy() == pytest.approx(expected["energy"], abs=1e-6)
    assert atoms.calc.potential is many


def test_a_structure_of_all_or_almost_all_of_many_elements(many):
    elements = many.elements[1:]
    assert len(elements) > MANY_ELEMENTS
    assert many.covering(elements).covering(elements) is many.covering(elements)
    assert many.covering(many.elements) is many
    positions = 2.5 * np.array(list(np.ndindex(3, 3, 1)), float)
    found = many.evaluate(positions, np.eye(3), False, list(elements))
    expected = evaluate(many, positions, np.eye(3), False, list(elements))
    assert found["energy"] == pytest.approx(expected["energy"], abs=1e-6)
    np.testing.assert_allclose(found["forces"], expected["forces"], atol=1e-6)


def test_a_potential_that_cannot_be_cut_says_so():
    model = build({"descriptor": {"name": "ace"}}, ("Si", "O"), 5.0)
    potential = Potential(Contract.of(model, ("Si", "O"), 5.0), model, {}, np.zeros(2))
    with pytest.raises(ConfigError, match="cannot be cut down"):
        potential.only(["Si"])
    assert potential.covering(["Si"]) is potential


class Harmful:
    def __reduce__(self):
        return exec, ("raise SystemError('code of the file was run')",)


def saved(path, found: bytes, storages=()):
    """A file as torch.save writes it."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model/data.pkl", found)
        for name, storage in enumerate(storages):
            archive.writestr(f"model/data/{name}", storage.tobytes())
    return path


def pickled(*calls: bytes) -> bytes:
    return pickle.PROTO + b"\x02" + b"".join(calls) + pickle.STOP


def tensor_pickle(dtype: bytes = b"FloatStorage", count: int = 6, size=(2, 3), stride=(3, 1)) -> bytes:
    """``{"weight": tensor}``, in the opcodes that torch writes."""
    integer = lambda n: pickle.BININT + int(n).to_bytes(4, "little")  # noqa: E731
    text = lambda s: pickle.BINUNICODE + len(s).to_bytes(4, "little") + s  # noqa: E731
    storage = (pickle.MARK, text(b"storage"), b"ctorch\n", dtype, b"\n", text(b"0"), text(b"cpu"), integer(count))
    shape = b"".join(pickle.MARK + b"".join(map(integer, numbers)) + pickle.TUPLE for numbers in (size, stride))
    body = (b"ctorch._utils\n_rebuild_tensor_v2\n", pickle.MARK, *storage, pickle.TUPLE, pickle.BINPERSID)
    end = (integer(0), shape, pickle.NEWFALSE, pickle.NONE, pickle.TUPLE, pickle.REDUCE)
    return pickled(pickle.EMPTY_DICT, text(b"weight"), *body, *end, pickle.SETITEM)


def test_tensors_are_read_without_torch(tmp_path):
    values = np.arange(6, dtype=np.float32)
    found = read_torch(saved(tmp_path / "state.pt", tensor_pickle(), [values]))
    np.testing.assert_array_equal(found["weight"], values.reshape(2, 3))
    transposed = read_torch(saved(tmp_path / "t.pt", tensor_pickle(size=(3, 2), stride=(1, 3)), [values]))
    np.testing.assert_array_equal(transposed["weight"], values.reshape(2, 3).T)


def test_no_code_of_a_file_is_run(tmp_path):
    harmful = io.BytesIO()
    pickle.Pickler(harmful, protocol=2).dump({"weight": Harmful()})
    with pytest.raises(ModelFileError, match=r"holds a (builtins|__builtin__)\.exec.* refused"):
        read_torch(saved(tmp_path / "bad.pt", harmful.getvalue()))
    with pytest.raises(ModelFileError, match="holds a pathlib.PosixPath"):
        read_torch(saved(tmp_path / "path.pt", pickle.dumps(Path("/tmp"), protocol=2)))
    harmless = read_torch(saved(tmp_path / "path.pt", pickle.dumps(Path("/tmp"), protocol=2)), inert=("pathlib.",))
    assert isinstance(harmless, Inert)
    assert harmless.name == "pathlib.PosixPath"


def test_damaged_files_are_refused(tmp_path):
    values = np.arange(6, dtype=np.float32)
    whole = saved(tmp_path / "state.pt", tensor_pickle(), [values]).read_bytes()
    (tmp_path / "half.pt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelFileError, match=r"half.pt is not a file of torch.save, or is damaged"):
        read_torch(tmp_path / "half.pt")
    with pytest.raises(ModelFileError, match="storage 0 has 6 numbers, not 7"):
        read_torch(saved(tmp_path / "short.pt", tensor_pickle(count=7), [values]))
    with pytest.raises(ModelFileError, match="reaches beyond its storage"):
        read_torch(saved(tmp_path / "far.pt", tensor_pickle(size=(2, 4)), [values]))
