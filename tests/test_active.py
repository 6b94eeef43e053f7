"""`jaxff active`: what it chooses, when it stops, and that nothing is lost or done twice whatever is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import equinox as eqx
import numpy as np
import pytest
import yaml
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.io import read, write

from jax_models import ConfigError, Potential
from jaxff.active.engine import workers
from jaxff.active.exploration import Seen, explore, ramp, start_of
from jaxff.active.folder import identity, read_frames, write_frames
from jaxff.active.labelling import KILLED, TRIES, check_order, labelled, unanswered
from jaxff.active.loop import _stuck
from jaxff.active.selection import most_informative
from jaxff.active.settings import Active, Engine, Exploration, read_active
from jaxff.active.training import divided
from jaxff.knowledge.labelling import answer_key

SILICON = Path(__file__).parents[1] / "lammps_examples" / "Si.jaxff"
RUN = {
    "out": "cu",
    "structures": ["cu.xyz"],
    "labeller": {"ase": "emt.EMT"},
    "explore": [
        {"name": "hot", "atoms": 8, "temperature": [300, 900], "steps": 40, "interval": 10, "timestep": 3},
        {"name": "shapes", "atoms": 8, "families": ["strain", "vacancy"], "number": 3},
    ],
    "goal": {"error": 0.01, "rounds": 2},
    "select": {"per_round": 3},
    "train": {
        "training.epochs": 4, "model.cutoff": 3.5, "model.descriptor.l_max": 1, "model.descriptor.n_channels": 4,
        "model.descriptor.n_radial": 4, "training.heads": 2,
    },
}  # fmt: skip


def written(folder: Path, **changes) -> Path:
    write(folder / "cu.xyz", bulk("Cu", cubic=True))
    (folder / "run.yaml").write_text(yaml.safe_dump({**RUN, **changes}))
    return folder / "run.yaml"


def command(path: Path, **more):
    return subprocess.Popen(
        [sys.executable, "-m", "jaxff.cli.app", "active", path.name],
        cwd=path.parent, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True, **more,
    )  # fmt: skip


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A run from beginning to end, and what it printed."""
    folder = tmp_path_factory.mktemp("active")
    process = command(written(folder))
    text, _ = process.communicate(timeout=900)
    return folder, process.returncode, text


def test_a_run_goes_through_its_rounds_and_says_that_the_goal_was_not_met(undisturbed):
    folder, status, text = undisturbed
    assert status == 1
    assert "2 rounds were not enough" in text
    records = [json.loads(line) for line in (folder / "cu" / "rounds.jsonl").read_text().splitlines()]
    assert [record["round"] for record in records] == [0, 1]
    assert records[1]["structures"] == records[0]["structures"] + records[0]["labels"]
    final = Potential.load(folder / "cu" / "model.jaxff")
    assert final.provenance["n_train"] + final.provenance["n_validation"] == records[1]["structures"]
    assert final.uncertainty is not None


def test_every_structure_has_an_id_an_origin_and_its_labels(undisturbed):
    folder, _, _ = undisturbed
    found = read_frames(folder / "cu" / "round-000" / "labelled.xyz")
    assert {atoms.info["config_type"] for atoms in found} <= {"hot", "shapes"}
    for atoms in found:
        assert atoms.info["id"] == identity(atoms)
        assert atoms.info["round"] == 0
        again = atoms.copy()
        again.calc = EMT()
        np.testing.assert_allclose(atoms.get_forces(), again.get_forces(), atol=1e-6)


def test_what_is_done_is_not_done_again(undisturbed):
    folder, _, _ = undisturbed
    before = {path: path.stat().st_mtime_ns for path in (folder / "cu").glob("round-*/**/*") if path.is_file()}
    process = command(folder / "run.yaml")
    process.communicate(timeout=300)
    assert before == {path: path.stat().st_mtime_ns for path in (folder / "cu").glob("round-*/**/*") if path.is_file()}


def asked(folder: Path) -> list[str]:
    """Questions that were answered without an error, in all journals."""
    lines = [line for path in folder.glob("round-*/*/*.jsonl") for line in path.read_text().splitlines()]
    return [entry["key"] for entry in map(json.loads, lines) if "error" not in entry]


@pytest.mark.slow
def test_killed_at_random_points_it_ends_as_if_it_had_not_been(undisturbed, tmp_path):
    folder, _, _ = undisturbed
    path = written(tmp_path)
    generator = np.random.default_rng(0)
    for _ in range(4):
        process = command(path)
        time.sleep(float(generator.uniform(8, 25)))
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        time.sleep(1.0)
    process = command(path)
    process.communicate(timeout=900)
    assert process.returncode == 1
    for name in ("beginning.xyz", "round-000/selected.xyz", "round-000/labelled.xyz", "round-001/labelled.xyz"):
        assert (tmp_path / "cu" / name).read_bytes() == (folder / "cu" / name).read_bytes(), name
    found, wanted = (Potential.load(path / "cu" / "model.jaxff").model for path in (tmp_path, folder))
    assert eqx.tree_equal(found, wanted)
    answered = asked(tmp_path / "cu")
    assert len(answered) == len(set(answered)) == len(asked(folder / "cu"))


def _pid_after(seconds: float) -> int:
    time.sleep(seconds)
    return os.getpid()


@pytest.mark.slow
def test_a_worker_that_is_killed_is_replaced():
    """Two processes of the engine's own; one dies in the middle, and every task has its result."""
    import threading

    with workers(Engine(workers=2)) as pool:
        first = pool.run([(_pid_after, 0.1), (_pid_after, 0.1)])
        threading.Timer(1.0, os.kill, (first[0], signal.SIGKILL)).start()
        later = pool.run([(_pid_after, 0.5)] * 8)
    assert len(later) == 8
    assert first[0] not in later[-2:]


def test_workers_can_be_had_again():
    """In a process of its own, where Dask has not been imported yet: the first workers must leave its settings."""
    code = """
from jaxff.active.engine import workers
from jaxff.active.settings import Engine
if __name__ == "__main__":
    for n in (1, 2):
        with workers(Engine(workers=1)) as pool:
            assert pool.run([(divmod, 7, n)]) == [divmod(7, n)]
    print("done twice")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.stdout == "done twice\n" and not done.stderr, done.stderr


def test_the_most_informative_are_chosen_and_no_copies():
    generator = np.random.default_rng(0)
    known = generator.normal(size=(200, 6)) * [1, 1, 1, 0.01, 0.01, 0.01]
    like, new, other = np.eye(6)[0:1], 5 * np.eye(6)[3:4], 5 * np.eye(6)[4:5]
    assert set(most_informative([like, new, new, other], known, 2)) in ({1, 3}, {2, 3})
    assert len(most_informative([like, new], known, 9)) == 2


def max_vol(rows: np.ndarray, number: int) -> list[int]:
    """The square MaxVol of Goreinov et al. (2010): begun by elimination with pivots, then swaps of one row for another
    while the determinant grows."""
    left, chosen = rows.copy(), []
    for column in range(number):
        pivot = int(np.argmax(np.abs(left[:, column])))
        chosen.append(pivot)
        left -= np.outer(left[:, column] / left[pivot, column], left[pivot])
        left[chosen] = 0.0
    for _ in range(1000):
        growth = rows @ np.linalg.inv(rows[chosen])
        row, place = np.unravel_index(np.argmax(np.abs(growth)), growth.shape)
        if abs(growth[row, place]) < 1 + 1e-9:
            break
        chosen[place] = int(row)
    return chosen


def environments_of_silicon() -> np.ndarray:
    """As the loop compares them: of atoms in crystals from cold to nearly molten."""
    from jaxff.active.choice import environments

    frames = [bulk("Si", a=a, cubic=True) for a in np.linspace(5.2, 5.8, 40)]
    for number, atoms in enumerate(frames):
        atoms.rattle(0.02 + 0.01 * number, seed=number)
    return np.concatenate(environments(Potential.load(SILICON), frames))


@pytest.mark.parametrize("seed", [0, 1, 2, "silicon"])
def test_the_determinant_is_as_large_as_that_of_max_vol(seed):
    """Its case: one environment a structure, as many as there are features, nothing known."""
    rows = environments_of_silicon() if seed == "silicon" else np.random.default_rng(seed).normal(size=(600, 24))
    n_features = rows.shape[1]
    rows = 1e3 * rows  # so that what is taken as known beforehand counts for nothing
    ours = most_informative([row[None] for row in rows], np.zeros((0, n_features)), n_features)
    theirs = max_vol(rows, n_features)
    assert len(set(ours)) == len(set(theirs)) == n_features
    determinants = [np.linalg.slogdet(rows[chosen])[1] for chosen in (ours, theirs)]
    assert determinants[0] > determinants[1] + np.log(0.9)


def test_ramps_and_starts():
    assert ramp([300.0], 0.7) == 300.0
    assert [ramp([300.0, 900.0, 300.0], x) for x in (0, 0.5, 0.75, 1)] == [300, 900, 600, 300]
    generator = np.random.default_rng(0)
    crystal = [bulk("Cu", cubic=True)]
    vacancy = start_of(Exploration(name="v", temperature=300, atoms=32, vacancies=2), crystal, generator)
    assert len(vacancy) == 30
    liquid = start_of(Exploration(name="l", temperature=300, atoms=32, disordered=True), crystal, generator)
    assert np.ptp(np.diff(np.sort(liquid.get_all_distances(mic=True)[0]))) > 0.1
    slab = start_of(Exploration(name="s", temperature=300, atoms=40, surface=(1, 0, 0)), crystal, generator)
    heights = np.sort(slab.positions[:, 2])
    assert 40 <= len(slab) <= 160
    assert slab.cell[2, 2] - (heights[-1] - heights[0]) > 10  # empty space


def test_a_ramp_of_pressures_compresses_the_cell(tmp_path):
    write(tmp_path / "si.xyz", bulk("Si", cubic=True))
    squeezed = Exploration(
        name="squeezed", atoms=8, temperature=[300], pressure=[0, 20], steps=400, interval=100, timestep=2
    )
    out = tmp_path / "seen.xyz"
    record = explore(str(SILICON), squeezed, [bulk("Si", cubic=True)], [0], float("inf"), out)
    assert record["steps"] == 400 and record["stopped"] == ""
    volumes = [frame.get_volume() for frame in read_frames(out)]
    # 20 GPa on silicon's 100 GPa: a tenth or more, less what the barostat lags behind.
    assert 0.75 * volumes[0] < volumes[-1] < 0.95 * volumes[0]


def test_a_run_stops_where_errors_are_expected_and_before_it_is_unphysical(undisturbed):
    from jaxff import JaxffCalculator

    folder, _, _ = undisturbed
    calculator = JaxffCalculator(folder / "cu" / "model.jaxff")
    atoms = bulk("Cu", cubic=True) * 2
    atoms.calc = calculator
    seen = Seen(calculator, stop_above=1e9)
    assert seen.look(atoms, 0)
    atoms.positions[0] += [1.2, 1.2, 0.0]
    limit = 0.5 * float(calculator.get_property("forces_expected_error", atoms).max())
    careful = Seen(calculator, limit)
    assert not careful.look(atoms, 10)
    assert "expected error" in careful.stopped
    assert len(careful.frames) == 1
    atoms.positions[0] = atoms.positions[1]
    assert not seen.look(atoms, 20)
    assert "unphysical" in seen.stopped


def test_labellers_that_are_killed_are_asked_again_and_failures_are_kept(tmp_path):
    run = Active(**{**RUN, "folder": str(tmp_path)})
    teacher = run.teacher()
    frames = [bulk("Cu", cubic=True), bulk("Cu", cubic=True) * (2, 1, 1), bulk("Cu")]
    keys = [answer_key(atoms, teacher.digest()) for atoms in frames]
    lines = [
        {"key": keys[0], "error": f"its process {KILLED} 9"},
        {"key": keys[1], "error": "no convergence"},
    ]
    journals = [tmp_path / "0.jsonl"]
    journals[0].write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert [len(atoms) for atoms in unanswered(frames, teacher, journals)] == [len(frames[0]), len(frames[2])]
    for n in range(1, TRIES):
        journals.append(tmp_path / f"{n}.jsonl")
        journals[-1].write_text(json.dumps(lines[0]) + "\n")
    assert [len(atoms) for atoms in unanswered(frames, teacher, journals)] == [len(frames[2])]
    done, failed = labelled(frames[:2], teacher, journals, 0)
    assert not done
    assert [entry["error"] for entry in failed] == [lines[0]["error"], "no convergence"]


class Sorting(EMT):
    """A labeller that gives forces in the order of elements, as some programs write them."""

    def calculate(self, *arguments):
        super().calculate(*arguments)
        self.results["forces"] = self.results["forces"][np.argsort(self.atoms.numbers, kind="stable")]


def test_a_labeller_that_mixes_up_atoms_is_refused():
    atoms = bulk("CuAu", "rocksalt", a=5.0, cubic=True)
    atoms.rattle(0.1, seed=0)

    def by(kind):
        def label(frames):
            done = []
            for frame in frames:
                copy = frame.copy()
                copy.calc = kind()
                copy.get_forces()
                done.append(copy)
            return done

        return label

    check_order(by(EMT), atoms)
    with pytest.raises(ConfigError, match="mixes up atoms"):
        check_order(by(Sorting), atoms)


def test_a_label_that_diverged_is_a_failure(tmp_path):
    run = Active(**{**RUN, "folder": str(tmp_path)})
    atoms, teacher = bulk("Cu", cubic=True), run.teacher()
    forces = np.zeros((4, 3))
    forces[1, 2] = 1e5
    answer = {"key": answer_key(atoms, teacher.digest()), "energy": 1.0, "forces": forces.tolist(), "stress": None}
    (tmp_path / "0.jsonl").write_text(json.dumps(answer) + "\n")
    done, failed = labelled([atoms], teacher, [tmp_path / "0.jsonl"], 0)
    assert not done
    assert "1e+05 eV/Å" in failed[0]["error"]


def test_validation_does_not_move(tmp_path):
    frames = [bulk("Cu", a=3.5 + 0.01 * n) for n in range(40)]
    for atoms in frames:
        atoms.info["id"] = identity(atoms)
    train, valid = divided(frames)
    assert 1 <= len(valid) <= 15
    assert {a.info["id"] for a in divided(frames[:30])[1]} <= {a.info["id"] for a in valid}
    assert divided(frames[:5])[1] == []
    write_frames(tmp_path / "none.xyz", [])
    assert read_frames(tmp_path / "none.xyz") == []
    write_frames(tmp_path / "all.xyz", frames)
    again = read(tmp_path / "all.xyz", ":")
    assert [identity(a) for a in again] == [a.info["id"] for a in again] == [a.info["id"] for a in frames]


def test_a_loop_that_gets_nowhere_gives_up():
    def record(error, stopped=0):
        return {"error_quantile": error, "runs": [{"stopped": "x" if n < stopped else ""} for n in range(3)]}

    assert not _stuck([record(1.0), record(0.9), record(0.8), record(0.7)], 3)
    assert _stuck([record(0.7), record(0.9), record(0.8), record(0.7)], 3)
    assert not _stuck([record(0.7, 3), record(0.9, 2), record(0.8, 2), record(0.9, 2)], 3)
    assert not _stuck([record(0.7)], 3)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"labeller": {"name": "x"}}, "must have exactly one of"),
        ({"explore": [{"name": "a"}]}, "exactly one of temperature, families and lammps"),
        ({"explore": [{"name": "a", "families": ["melt"]}]}, "there is no family melt"),
        ({"explore": [{"name": "a", "temperature": -1}]}, "temperatures must be positive"),
        ({"explore": 2 * [{"name": "a", "temperature": 1}]}, "same name"),
        ({"goal": {"error": -1}}, "goal.error"),
        ({"structures": []}, "give data"),
        ({"structures": ["nowhere.cif"]}, "there is no file"),
        ({"train": {"training.epoch": 3}}, "there is no setting training.epoch"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_bad_input(tmp_path, change, text):
    with pytest.raises(ConfigError, match=text):
        read_active(written(tmp_path, **change))


def test_a_folder_belongs_to_one_run(undisturbed, tmp_path):
    import shutil

    folder, _, _ = undisturbed
    shutil.copytree(folder, tmp_path / "copy")
    process = command(written(tmp_path / "copy", select={"per_round": 5}))
    text, _ = process.communicate(timeout=300)
    assert process.returncode == 1
    assert "holds a run with other settings" in " ".join(text.split())
