"""`jaxff label`: every teacher's labels are its own, failures are named and survived, an interrupted run loses
nothing."""

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
from ase import units
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.io import read, write
from training_data import emt_frames, labelled

from jax_models import ConfigError, DatasetError, JaxffError, StructureError
from jaxff.cli.app import app
from jaxff.knowledge.labelling import label
from jaxff.knowledge.lammps_calculator import LammpsCalculator
from jaxff.knowledge.teachers import potentials_folder, read_teachers

TESTS = Path(__file__).resolve().parent
STILLINGER_WEBER = "{name: sw, pair_style: sw, pair_coeff: '* * Si.sw Si', elements: [Si]}"


def teacher_file(folder, *entries):
    path = folder / "teachers.yaml"
    path.write_text("teachers:\n" + "".join(f"  - {entry}\n" for entry in entries))
    return path


def run_label(folder, *arguments):
    app(["label", *map(str, arguments), "--workers", "1"], standalone_mode=False)
    return read(folder / "out.xyz", ":")


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(TESTS))
    return tmp_path


def test_lammps_is_the_same_in_any_cell_units_and_boundary():
    """Against ASE's Lennard-Jones: sheared and small cells, free directions, one calculator for all of them."""
    settings = {"epsilon": 0.5 * units.kcal / units.mol, "sigma": 2.5, "rc": 6.0}
    calculator = LammpsCalculator(
        ["pair_style lj/cut 6.0", "pair_modify shift yes", "pair_coeff * * 0.5 2.5"], ["O", "H"], units="real"
    )
    for pbc in ([0, 0, 0], [1, 0, 0], [1, 1, 0], [1, 1, 1]):
        atoms = molecule("H2O")
        atoms.positions *= 2
        atoms.set_cell([[4, 0, 0], [1, 4, 0], [0.3, 0.4, 4.5]])
        atoms.pbc = pbc
        other = atoms.copy()
        atoms.calc, other.calc = calculator, LennardJones(**settings)
        for _ in range(2):  # the second time only positions changed
            assert atoms.get_potential_energy() == pytest.approx(other.get_potential_energy(), abs=2e-5)
            np.testing.assert_allclose(atoms.get_forces(), other.get_forces(), atol=1e-9)
            if all(pbc):
                np.testing.assert_allclose(atoms.get_stress(), other.get_stress(), atol=2e-6)
            for one in (atoms, other):
                one.rattle(0.05, seed=1)
    atoms = bulk("Si")
    atoms.calc = calculator
    with pytest.raises(StructureError, match="no parameters for Si; it knows O, H"):
        atoms.get_potential_energy()


def test_labels_of_several_teachers_beside_those_of_dft(here):
    frames = emt_frames(4, alloy=False)
    write("in.xyz", frames)
    shift = "{name: shifted, ase: failing_calculators.Slow}"
    lines = [
        "{name: emt, ase: emt.EMT}",
        "{name: eam, pair_style: eam, pair_coeff: 1 1 Cu_u3.eam, elements: [Cu]}",
        shift,
        STILLINGER_WEBER,
    ]
    found = run_label(here, "in.xyz", "--teachers", teacher_file(here, *lines), "--out", "out.xyz", "--json", "s.json")
    summary = json.loads(Path("s.json").read_text())
    assert not Path("out.xyz.journal").exists()
    for before, after in zip(frames, found, strict=True):
        assert after.get_potential_energy() == pytest.approx(before.get_potential_energy())
        assert after.info["config_type"] == before.info["config_type"]
        assert after.info["energy_emt"] == pytest.approx(before.get_potential_energy())
        np.testing.assert_allclose(after.arrays["forces_emt"], before.get_forces(), atol=1e-7)
        np.testing.assert_allclose(after.info["stress_emt"], before.get_stress(), atol=1e-8)
        expected = after.copy()
        expected.calc = LammpsCalculator(
            ["pair_style eam", f"pair_coeff 1 1 {potentials_folder() / 'Cu_u3.eam'}"], ["Cu"]
        )
        assert after.info["energy_eam"] == pytest.approx(expected.get_potential_energy())
        np.testing.assert_allclose(after.arrays["forces_eam"], expected.get_forces(), atol=1e-7)
        assert after.info["error_sw"] == "it has no parameters for Cu; it knows Si"
        assert "stress_shifted" not in after.info and "energy_sw" not in after.info
        aligned = after.info["energy_eam"] + 4 * summary["eam"]["reference_energies_ev"]["Cu"]
        assert after.info["aligned_energy_eam"] == pytest.approx(aligned)
    energies = np.array([a.get_potential_energy() for a in frames])
    assert np.mean([a.info["aligned_energy_eam"] for a in found]) == pytest.approx(energies.mean())
    assert (summary["emt"]["labelled"], summary["emt"]["failures"]) == (4, [])
    errors = [summary["emt"][key] for key in ("energy_rmse_mev_per_atom", "force_rmse_ev_per_angstrom")]
    assert errors == pytest.approx([0.0, 0.0], abs=1e-5)
    assert len(summary["sw"]["failures"]) == 4


def test_what_kills_a_teacher_is_named_and_the_others_go_on(here):
    frames = [bulk("Cu") * (n, 1, 1) for n in (1, 2, 3, 4)]
    write("in.xyz", frames)
    ways = {
        "segfault": "died with signal 11: about to go",
        "hang": "longer than 2 s",
        "diverge": "not finite",
        "raise": "no convergence after 60",
    }
    lines = [f"{{name: {how}, ase: failing_calculators.Failing, settings: {{how: {how}}}}}" for how in ways]
    found = run_label(here, "in.xyz", "--teachers", teacher_file(here, *lines), "--out", "out.xyz", "--timeout", "2")
    for number, atoms in enumerate(found):
        reference = frames[number].copy()
        reference.calc = EMT()
        for how, reason in ways.items():
            if len(atoms) % 2:
                assert reason in atoms.info[f"error_{how}"]
                assert f"energy_{how}" not in atoms.info
            else:
                assert atoms.info[f"energy_{how}"] == pytest.approx(reference.get_potential_energy())


def workers_alive():
    """Processes of `jaxff.knowledge.worker` that this one started."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = (folder / "stat").read_text().rpartition(")")[2].split()[1]
            if int(parent) == os.getpid() and b"jaxff.knowledge.worker" in (folder / "cmdline").read_bytes():
                found.append(folder.name)
        except OSError:
            continue
    return found


def test_no_worker_is_left_behind(here):
    """Neither by a teacher that writes between the answers, nor by an exception while answers come in."""
    write("in.xyz", [bulk("Cu") * (n, 1, 1) for n in (1, 2)])
    garbage = "{name: g, ase: failing_calculators.Failing, settings: {how: garbage}}"
    found = run_label(here, "in.xyz", "--teachers", teacher_file(here, garbage), "--out", "out.xyz")
    assert "wrote something that is no answer: 'no answer'" in found[0].info["error_g"]
    assert np.isfinite(found[1].info["energy_g"])
    assert workers_alive() == []
    frames = [bulk("Cu") * (n, 1, 1) for n in (1, 2, 3)]

    def interrupted(done):
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        label(frames, read_teachers(teacher_file(here, "{name: slow, ase: failing_calculators.Slow}")), Path("j"), 2,
              progress=interrupted)  # fmt: skip
    assert workers_alive() == []


def test_an_interrupted_run_goes_on_and_asks_nothing_twice(here):
    frames = emt_frames(8, alloy=False)
    write("in.xyz", frames)
    teachers = teacher_file(here, "{name: slow, ase: failing_calculators.Slow}")
    command = [
        sys.executable,
        "-m",
        "jaxff.cli.app",
        "label",
        "in.xyz",
        "--teachers",
        str(teachers),
        "--out",
        "out.xyz",
        "--workers",
        "1",
    ]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    journal = Path("out.xyz.journal")
    while not journal.exists() or journal.read_text().count("\n") < 3:
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not Path("out.xyz").exists()
    first = journal.read_text()
    answered = [json.loads(line)["key"] for line in first.splitlines()]
    marked = first.replace('"energy": 1.0', '"energy": 2.0')
    journal.write_text(marked + '{"key": "half a li')
    found = run_label(here, "in.xyz", "--teachers", teachers, "--out", "out.xyz")
    # Answers of the first run were kept, not asked for again; half a line was.
    assert sorted(a.info["energy_slow"] for a in found) == [1.0] * (8 - len(answered)) + [2.0] * len(answered)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("teachers: []", "must hold a list of teachers"),
        ("teachers: [", "not valid YAML"),
        ("teachers: [{name: a}]", "teacher 1 must have exactly one of pair_style, kim, ase, jaxff"),
        ("teachers: [{name: 'a b', ase: emt.EMT}]", "teacher 1: name"),
        ("teachers: [{name: a, ase: emt.EMT}, {name: a, ase: lj.LennardJones}]", "two teachers are called a"),
        ("teachers: [{name: a, pair_style: sw, pair_coeff: '* * Si.sw Si'}]", "elements: field required"),
        (
            "teachers: [{name: a, pair_style: sw, pair_coeff: '* * Si.swx Si', elements: [Si]}]",
            "there is no file Si.swx",
        ),
        ("teachers: [{name: a, jaxff: none.jaxff}]", "there is no file"),
        ("teachers: [{name: a, ase: 'os.system'}]", "os.system is no ASE calculator"),
        ("teachers: [{name: a, ase: '__import__(1).x'}]", "ase: string should match"),
        ("teachers: [{name: a, ase: emt.EMT, settings: {nonsense: {}}, extra: 1}]", "extra"),
    ],
)
def test_bad_teacher_files_are_refused_in_one_line(here, content, message):
    Path("t.yaml").write_text(content)
    write("in.xyz", bulk("Si"))
    with pytest.raises(JaxffError) as caught:
        run_label(here, "in.xyz", "--teachers", "t.yaml", "--out", "out.xyz")
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_kim_without_kim_api_says_what_to_install(here):
    try:
        import kimpy  # noqa: F401
    except ImportError:
        (teacher,) = read_teachers(
            teacher_file(here, "{name: k, kim: SW_StillingerWeber_1985_Si__MO_405512056662_006}")
        )
        with pytest.raises(ConfigError, match="need kim-api and kimpy"):
            teacher.calculator()


def test_nothing_is_written_when_nothing_could_be_labelled(here):
    write("in.xyz", labelled(bulk("Cu"), energy=1.0))
    with pytest.raises(
        JaxffError, match="no teacher could label any structure; sw, in.xyz, frame 0: it has no parameters for Cu"
    ):
        run_label(here, "in.xyz", "--teachers", teacher_file(here, STILLINGER_WEBER), "--out", "out.xyz")
    assert not Path("out.xyz").exists()
    with pytest.raises(ConfigError, match="must end in .xyz"):
        run_label(here, "in.xyz", "--teachers", teacher_file(here, STILLINGER_WEBER), "--out", "out.cif")
    with pytest.raises(DatasetError, match="there is no file none.xyz"):
        run_label(here, "none.xyz", "--teachers", teacher_file(here, STILLINGER_WEBER), "--out", "out.xyz")


def test_a_corrupt_label_file_is_named(here):
    """Cut short, or with a label that is no number: the frame is named before anything is trained."""
    frames = emt_frames(4, alloy=False)
    write("in.xyz", frames)
    run_label(here, "in.xyz", "--teachers", teacher_file(here, "{name: emt, ase: emt.EMT}"), "--out", "out.xyz")
    text = Path("out.xyz").read_text()
    train = ["--out", "x.jaxff", "--epochs", "1", "--set", "knowledge.strategy=transfer"]
    for name, content, message in (
        ("cut.xyz", text[: len(text) // 2], "cut.xyz"),
        (
            "nan.xyz",
            text.replace("energy_emt=", "energy_emt=nan was=", 1),
            "nan.xyz, frame 0: energy_emt is not finite",
        ),
        ("dft.xyz", text.replace(" energy=", " energy=nan was=", 1), "dft.xyz, frame 0: energy is not finite"),
    ):
        Path(name).write_text(content)
        with pytest.raises(DatasetError) as caught:
            app(["train", name, *train], standalone_mode=False)
        assert message in str(caught.value) and "\n" not in str(caught.value)
    assert not Path("x.jaxff").exists()
