"""Labels of programs that write files, as DFT codes do: here by several processes at once, and from a queue."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.io import read, write
from test_active import RUN

from jax_models import ConfigError
from jaxff.active.engine import workers
from jaxff.active.folder import read_frames
from jaxff.active.settings import Engine
from jaxff.knowledge.labelling import Worker, label, request
from jaxff.knowledge.teachers import parse_teacher

TESTS = Path(__file__).resolve().parent
PROGRAM = "file_writing_program.Program"


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(TESTS))
    return tmp_path


def rattled(number: int):
    frames = [bulk("Cu", cubic=True) for _ in range(number)]
    for n, atoms in enumerate(frames):
        atoms.rattle(0.1, seed=n)
    return frames


def ended(pid: int) -> bool:
    """Within some seconds."""
    for _ in range(100):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.1)
    return False


def pid_of_the_program(folder: Path) -> int:
    """As soon as it runs."""
    for _ in range(600):
        found = [path.read_text() for path in folder.glob("**/pid")]
        if found and found[0]:
            return int(found[0])
        time.sleep(0.1)
    raise AssertionError("the program was never started")


def test_each_process_has_a_directory_of_its_own(here):
    """Otherwise one would read what another wrote."""
    frames = rattled(4)
    teacher = parse_teacher({"name": "dft", "ase": PROGRAM, "settings": {"directory": "dft"}}, here)
    found = label(frames, [teacher], here / "journal", workers=2, threads=3)
    for atoms, answer in zip(frames, found, strict=True):
        atoms.calc = EMT()
        np.testing.assert_allclose(answer["dft"]["forces"], atoms.get_forces(), atol=1e-6)
    used = list((here / "dft").iterdir())
    assert len(used) == 2
    assert {(place / "threads").read_text() for place in used} == {"3"}
    unnamed = parse_teacher({"name": "dft", "ase": PROGRAM, "settings": {"seconds": 0.0}}, here)
    assert "energy" in label(frames[:1], [unnamed], here / "other", workers=1)[0]["dft"]
    assert {path.name for path in here.iterdir()} == {"dft", "journal", "other"}  # nothing is left where nobody asked


def test_a_program_that_takes_too_long_is_ended(here):
    teacher = parse_teacher({"name": "dft", "ase": PROGRAM, "settings": {"seconds": 1000, "directory": "dft"}}, here)
    worker = Worker.start(here, 0)
    worker.process.stdin.write(json.dumps(request(rattled(1)[0], teacher)).encode() + b"\n")
    worker.process.stdin.flush()
    program = pid_of_the_program(here)
    worker.end()  # what `Worker.ask` does then
    assert ended(program)


def test_a_program_ends_with_those_who_asked(here):
    """A killed `jaxff label` leaves nothing running for days."""
    (here / "teachers.yaml").write_text(
        yaml.safe_dump(
            {"teachers": [{"name": "dft", "ase": PROGRAM, "settings": {"seconds": 1000, "directory": "dft"}}]}
        )
    )
    write("in.xyz", rattled(1))
    words = ["label", "in.xyz", "--teachers", "teachers.yaml", "--out", "out.xyz", "--workers", "1"]
    process = subprocess.Popen(
        [sys.executable, "-m", "jaxff.cli.app", *words], env={**os.environ, "PYTHONPATH": str(TESTS)}
    )
    program = pid_of_the_program(here)
    process.kill()
    process.wait()
    if not ended(program):
        os.kill(program, signal.SIGKILL)
        raise AssertionError("the program goes on")


def test_workers_that_would_do_several_tasks_at_once_are_refused():
    pytest.importorskip("dask_jobqueue", reason='dask-jobqueue is not installed: pip install "jaxff[queues]"')
    engine = Engine(cluster="SLURMCluster", settings={"cores": 32, "processes": 1, "memory": "1GB"})
    with pytest.raises(ConfigError, match="several tasks at once"), workers(engine):
        pass


SBATCH = """#!/bin/bash
# As SLURM's: keeps the script, runs it in the background, tells a number.
cp "$1" {place}/$$.job
setsid bash {place}/$$.job > {place}/$$.out 2>&1 &
echo "Submitted batch job $!"
"""
SCANCEL = """#!/bin/bash
kill -- "-$1"
"""


@pytest.mark.slow
def test_labels_come_from_a_queue_and_the_rest_is_done_here(here, monkeypatch):
    """With stand-ins for sbatch and scancel: what SLURM is asked for, and that all goes through."""
    pytest.importorskip("dask_jobqueue", reason='dask-jobqueue is not installed: pip install "jaxff[queues]"')
    for name, text in (("sbatch", SBATCH.format(place=here)), ("scancel", SCANCEL)):
        (here / name).write_text(text)
        (here / name).chmod(0o755)
    write("cu.xyz", bulk("Cu", cubic=True))
    labelling = {
        "cluster": "SLURMCluster",
        "workers": 2,
        "threads": 2,
        "settings": {
            "cores": 1, "processes": 1, "memory": "1GB", "queue": "normal", "walltime": "01:00:00", "interface": "lo",
            "job_directives_skip": ["-n 1", "--cpus-per-task"], "job_extra_directives": ["-n 16", "--cpus-per-task=2"],
        },
    }  # fmt: skip
    run = {
        **RUN,
        "labeller": {"ase": PROGRAM, "settings": {"seconds": 0.1, "directory": "dft"}},
        "goal": {"error": 0.01, "rounds": 1},
        "engine": {"workers": 1, "labelling": labelling},
    }
    Path("run.yaml").write_text(yaml.safe_dump(run))
    done = subprocess.run(
        [sys.executable, "-m", "jaxff.cli.app", "active", "run.yaml"], capture_output=True, text=True, timeout=900,
        env={**os.environ, "PYTHONPATH": str(TESTS), "PATH": f"{here}:{os.environ['PATH']}"},
    )  # fmt: skip
    assert "1 rounds were not enough" in " ".join(done.stderr.split()), done.stderr
    jobs = [path.read_text() for path in here.glob("*.job")]
    assert len(jobs) == 2
    for job in jobs:
        assert "#SBATCH -n 16\n" in job and "#SBATCH -n 1\n" not in job
        assert "#SBATCH --cpus-per-task=2" in job
        assert "--nthreads 1" in job
    found = read_frames(here / "cu" / "round-000" / "labelled.xyz")
    assert found
    for atoms in found:
        again = atoms.copy()
        again.calc = EMT()
        np.testing.assert_allclose(atoms.get_forces(), again.get_forces(), atol=1e-5)
    assert {path.read_text() for path in here.glob("dft/*/threads")} == {"2"}
    assert len(read("cu/beginning.xyz", ":")) == 24
