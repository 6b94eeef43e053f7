"""No command writes over what it reads, or over a file of another kind; what cannot be written is said at once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ase.build import bulk
from ase.io import read, write
from training_data import emt_frames

from jax_models import JaxffError
from jaxff.cli.app import app
from jaxff.cli.outputs import JSON, PLOT, POTENTIAL, Output, check_outputs


def refused(*arguments):
    """The one line that a command which must not run gives."""
    with pytest.raises(JaxffError) as caught:
        app([*map(str, arguments)], standalone_mode=False)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def here(tmp_path, monkeypatch, silicon_potential):
    monkeypatch.chdir(tmp_path)
    write("data.xyz", emt_frames(4))
    write("si.cif", bulk("Si", cubic=True))
    silicon_potential.save("si.jaxff")
    return tmp_path


def contents():
    return {path.name: path.read_bytes() for path in sorted(Path(".").iterdir()) if path.is_file()}


def test_no_output_is_an_input(here):
    os.link("data.xyz", "linked.xyz")
    os.symlink("data.xyz", "pointed.xyz")
    Path("t.yaml").write_text("teachers: [{name: emt, ase: emt.EMT}]")
    Path("c.yaml").write_text("training: {epochs: 1}")
    before = contents()
    for arguments in (
        ("train", "data.xyz", "--out", "data.xyz"),
        ("train", "data.xyz", "--out", "./data.xyz"),
        ("train", "data.xyz", "--out", "linked.xyz"),
        ("train", "data.xyz", "--out", "pointed.xyz"),
        ("train", "data.xyz", "--config", "c.yaml", "--out", "c.yaml"),
        ("train", "data.xyz", "--from", "si.jaxff", "--out", "si.jaxff"),
        ("select-features", "data.xyz", "--out", "data.xyz"),
        ("evaluate", "si.jaxff", "data.xyz", "--json", "data.xyz"),
        ("evaluate", "si.jaxff", "data.xyz", "--json", "si.jaxff"),
        ("elastic", "si.jaxff", "si.cif", "--json", "si.cif"),
        ("info", "si.jaxff", "--json", "si.jaxff"),
        ("label", "data.xyz", "--teachers", "t.yaml", "--out", "data.xyz"),
        ("label", "data.xyz", "--teachers", "t.yaml", "--out", "o.xyz", "--json", "t.yaml"),
        ("structures", "data.xyz", "--out", "data.xyz"),
        ("export-mliap", "si.jaxff", "si.jaxff"),
    ):
        assert "which this command reads" in refused(*arguments), arguments
    assert contents() == before


def test_a_file_of_another_kind_is_not_replaced(here):
    write("other.xyz", bulk("Si"))
    Path("notes.json").write_text("these are notes")
    Path("picture.png").write_text("no picture")
    before = contents()
    for arguments in (
        ("train", "data.xyz", "--out", "other.xyz"),
        ("info", "si.jaxff", "--json", "other.xyz"),
        ("info", "si.jaxff", "--json", "notes.json"),
        ("evaluate", "si.jaxff", "data.xyz", "--plot", "picture.png"),
        ("describe", "data.xyz", "--descriptor", "soap", "--set", "r_cut=4", "--out", "notes.npz"),
        ("structures", "si.cif", "--out", "text.xyz"),
        ("export-mliap", "si.jaxff", "other.xyz"),
    ):
        for name in ("notes.npz", "text.xyz"):
            Path(name).write_text("a text")
        assert "which is not" in refused(*arguments), arguments
    assert {name: data for name, data in contents().items() if name not in ("notes.npz", "text.xyz")} == before
    app(["info", "si.jaxff", "--json", "new.json"], standalone_mode=False)
    app(["info", "si.jaxff", "--json", "new.json"], standalone_mode=False)  # the same kind may be replaced
    app(["structures", "si.cif", "--out", "o.xyz", "--families", "rattle", "--number", "1"], standalone_mode=False)
    app(["structures", "si.cif", "--out", "o.xyz", "--families", "rattle", "--number", "2"], standalone_mode=False)
    assert len(read("o.xyz", ":")) == 2


def test_what_cannot_be_written_is_said_before_any_work(here):
    Path("folder").mkdir()
    for arguments in (
        # An absent input would be found out next: the output comes first.
        ("train", "absent.xyz", "--out", "/proc/x.jaxff"),
        ("train", "absent.xyz", "--out", "si.cif/x.jaxff"),
        ("train", "absent.xyz", "--out", "no/such/x.jaxff"),
        ("train", "absent.xyz", "--out", "x" * 250 + ".jaxff"),
        ("evaluate", "absent.jaxff", "absent.xyz", "--json", "/proc/x.json"),
        ("evaluate", "absent.jaxff", "absent.xyz", "--plot", "/proc/x.png"),
        ("elastic", "absent.jaxff", "absent.cif", "--json", "/proc/x.json"),
        ("barrier", "absent.jaxff", "a.xyz", "b.xyz", "--plot", "/proc/x.png"),
        ("vacancy", "absent.jaxff", "a.xyz", "--json", "/proc/x.json"),
        ("phonons", "absent.jaxff", "a.xyz", "--json", "/proc/x.json"),
        ("eos", "absent.jaxff", "a.xyz", "--json", "/proc/x.json"),
        ("info", "absent.jaxff", "--json", "/proc/x.json"),
        ("describe", "absent.xyz", "--out", "/proc/x.npz"),
        ("label", "absent.xyz", "--teachers", "absent.yaml", "--out", "/proc/x.xyz"),
        ("structures", "absent.xyz", "--out", "/proc/x.xyz"),
        ("export-mliap", "absent.jaxff", "/proc/x.pkl"),
        ("import", "absent.safetensors", "--out", "/proc/x.jaxff"),
    ):
        assert "cannot write" in refused(*arguments), arguments
    assert "is a directory" in refused("train", "data.xyz", "--out", "folder")
    # The files beside the potential count too.
    Path("y.jaxff.log.jsonl").mkdir()
    assert "y.jaxff.log.jsonl is a directory" in refused("train", "data.xyz", "--out", "y.jaxff")
    Path("z.jaxff.training.png").write_text("no picture")
    assert "z.jaxff.training.png" in refused("train", "data.xyz", "--out", "z.jaxff")
    assert "holds other files" in refused("demo", "--out", ".")


def test_two_outputs_need_two_names(here):
    with pytest.raises(JaxffError, match="--json and --plot would both write"):
        check_outputs([Output("--json", Path("a.png"), JSON), Output("--plot", Path("./a.png"), PLOT)])
    check_outputs(
        [Output("--out", Path("si.jaxff"), POTENTIAL), Output("--json", None, JSON)], [Path("data.xyz"), None]
    )
    assert not [name for name in os.listdir() if name.startswith(".")]  # the trial leaves nothing
