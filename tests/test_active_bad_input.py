"""`jaxff active` with what goes wrong: one clear line, nothing lost, and where it can the run goes on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from ase.build import bulk
from ase.io import write
from test_active import RUN, SILICON, written

from jax_models import ConfigError
from jaxff.active.folder import only_one, read_frames
from jaxff.active.loop import run_active
from jaxff.active.settings import read_active

TESTS = Path(__file__).resolve().parent


def active(folder: Path, **changes) -> subprocess.CompletedProcess:
    """The command on `RUN` with changes, from outside."""
    path = written(folder, **changes)
    return subprocess.run(
        [sys.executable, "-m", "jaxff.cli.app", "active", path.name], cwd=folder, capture_output=True, text=True,
        timeout=1500, env={**os.environ, "PYTHONPATH": str(TESTS), "COLUMNS": "200"},
    )  # fmt: skip


def failing(how: str) -> dict:
    return {"ase": "failing_calculators.Failing", "settings": {"how": how}}


def records(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "cu" / "rounds.jsonl").read_text().splitlines()]


def test_what_can_be_known_before_is_refused_before(tmp_path):
    with pytest.raises(ConfigError, match=r"training.heads is 0, and the loop is steered by"):
        read_active(written(tmp_path, train={"training.heads": 0}))
    with pytest.raises(ConfigError, match=r"cu.xyz lies where the run writes, in .*; let out be a folder of its own"):
        read_active(written(tmp_path, out="."))
    with pytest.raises(ConfigError, match="there is no file .*gone.jaxff"):
        read_active(written(tmp_path, labeller={"jaxff": "gone.jaxff"}))
    with pytest.raises(ConfigError, match="there is no file gone.sw"):
        read_active(
            written(tmp_path, labeller={"pair_style": "sw", "pair_coeff": "* * gone.sw Cu", "elements": ["Cu"]})
        )
    with pytest.raises(ConfigError, match="labelling.worker: extra inputs"):
        read_active(written(tmp_path, engine={"labelling": {"worker": 2}}))
    with pytest.raises(ConfigError, match="cut: input should be greater than 0"):
        read_active(written(tmp_path, select={"cut": 0}))
    with pytest.raises(ConfigError, match="cannot make the folder .*cu.xyz/run: Not a directory"):
        run_active(read_active(written(tmp_path, out="cu.xyz/run")), None)


def test_a_folder_has_one_run_at_a_time(tmp_path):
    run = read_active(written(tmp_path))
    run.root.mkdir()
    with only_one(run.root), pytest.raises(ConfigError, match="another jaxff active is at work in"):
        run_active(run, None)
    with only_one(run.root):
        pass


def test_molecules_have_no_surface_and_no_pressure():
    import numpy as np
    from ase.build import molecule

    from jaxff.active.exploration import start_of
    from jaxff.active.settings import Exploration

    generator = np.random.default_rng(0)
    water = molecule("H2O")
    assert len(start_of(Exploration(name="a", temperature=300, atoms=32), [water], generator)) == 3
    for more in ({"surface": (1, 0, 0)}, {"pressure": 1.0}, {"disordered": True}):
        exploration = Exploration(name="a", temperature=300, **more)
        with pytest.raises(ConfigError, match="disordered need a crystal to start from, and H2O is not"):
            start_of(exploration, [water], generator)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("labeller", "words"),
    [
        (failing("mix up"), "it mixes up atoms or elements"),
        ({"ase": "nowhere.Calculator"}, "nowhere.Calculator is no ASE calculator that is installed here"),
        (failing("raise") | {"settings": {"colour": "red"}}, "Failing does not take these settings"),
        ({"jaxff": str(SILICON)}, "the labeller fails on Cu4, a structure to start from"),
    ],
)
def test_a_labeller_that_cannot_label_is_found_before_anything_is_trained(tmp_path, labeller, words):
    done = active(tmp_path, labeller=labeller)
    assert done.returncode == 1
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "cu" / "beginning.xyz").exists()


@pytest.mark.slow
@pytest.mark.parametrize(("how", "reason"), [("raise", "no convergence after 60 steps"), ("diverge", "not finite")])
def test_labels_that_fail_are_kept_with_their_reasons(tmp_path, how, reason):
    """Structures with a vacancy have an odd number of atoms, on which this labeller fails."""
    shapes = {"name": "shapes", "atoms": 8, "families": ["strain", "vacancy"], "number": 4}
    select = {"per_round": 8}
    done = active(tmp_path, labeller=failing(how), explore=[shapes], goal={"error": 0.001, "rounds": 2}, select=select)
    assert "2 rounds were not enough" in done.stderr
    record, later = records(tmp_path)
    # Neither are they chosen again, nor does the next round look at the same structures.
    assert not {entry["id"] for entry in record["failed"]} & {entry["id"] for entry in later["failed"]}
    assert later["failed"]
    assert record["failed"]
    assert record["labels"] > 0
    assert record["labels"] + len(record["failed"]) == len(read_frames(tmp_path / "cu" / "round-000" / "selected.xyz"))
    assert all(reason in entry["error"] for entry in record["failed"])
    assert f"{len(record['failed'])} failed" in done.stdout


@pytest.mark.slow
def test_a_loop_whose_error_does_not_fall_says_so_and_stops(tmp_path):
    """Labels without a rule: no round can be better than the first."""
    shapes = {"name": "shapes", "atoms": 8, "families": ["rattle"], "number": 4}
    done = active(
        tmp_path, labeller={"ase": "failing_calculators.Noisy"}, explore=[shapes],
        goal={"error": 0.01, "rounds": 8, "patience": 1},
    )  # fmt: skip
    assert done.returncode == 1
    assert "the expected error did not fall in 1 rounds; it stays at" in done.stderr, done.stderr
    assert len(records(tmp_path)) < 8
    assert (tmp_path / "cu" / "model.jaxff").exists()


@pytest.mark.slow
def test_a_goal_that_is_met_ends_the_run(tmp_path):
    shapes = {"name": "shapes", "atoms": 8, "families": ["strain"], "number": 4}
    done = active(tmp_path, explore=[shapes], goal={"error": 50.0, "rounds": 3})
    assert done.returncode == 0, done.stderr
    assert "the goal was met in round 0" in done.stdout
    assert len(records(tmp_path)) == 1


@pytest.mark.slow
def test_what_is_too_large_is_cut_and_says_where_it_comes_from(tmp_path):
    """Dynamics of more atoms than are labelled."""
    hot = {"name": "hot", "atoms": 500, "temperature": 600, "steps": 20, "interval": 10}
    write(tmp_path / "cu.xyz", bulk("Cu", cubic=True))
    done = active(
        tmp_path, explore=[hot], goal={"error": 0.001, "rounds": 1}, select={"per_round": 2, "atoms": 300, "cut": 3.6}
    )
    assert "1 rounds were not enough" in done.stderr, done.stderr
    found = read_frames(tmp_path / "cu" / "round-000" / "labelled.xyz")
    assert found
    for atoms in found:
        assert len(atoms) <= 300
        assert atoms.info["parent"].startswith("s") and atoms.info["atom"] >= 0
    assert records(tmp_path)[0]["too_large"] == 0


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 200 kB, where one may be mounted."""
    place = tmp_path / "cu"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", place], capture_output=True).returncode:
        pytest.skip("mounting a small file system is not permitted here")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


@pytest.mark.slow
def test_on_a_full_disk_it_ends_and_goes_on_with_room(tmp_path, small_disk):
    shapes = {"name": "shapes", "atoms": 8, "families": ["strain"], "number": 4}
    changes = {"explore": [shapes], "goal": {"error": 0.001, "rounds": 1}}
    done = active(tmp_path, **changes)
    assert done.returncode == 1
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    subprocess.run(["mount", "-o", "remount,size=100m", small_disk], check=True)
    done = active(tmp_path, **changes)
    assert "1 rounds were not enough" in done.stderr, done.stderr
    assert yaml.safe_load((tmp_path / "run.yaml").read_text())["out"] == RUN["out"]
    assert not [path for path in small_disk.glob("**/.*") if path.name != ".lock"]
