"""`jaxff report`: its numbers are those of `jaxff evaluate`, it needs no network, no text from a file becomes code."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from ase.io import write
from conftest import make_potential
from potentials_from_functions import lennard_jones
from strategy_potentials import MAKE
from training_data import TINY, emt_frames, emt_structures, labelled

from jax_models import JaxffError, Potential
from jax_models.training.uncertainty import with_uncertainty
from jaxff.cli.app import app
from jaxff.io import read_frames
from jaxff.plots.figures import COLORS, OTHERS, group_colors
from jaxff.plots.known_errors import bins_of
from jaxff.plots.structure_map import principal_components
from jaxff.report import viewer as viewer_module

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
HOSTILE = "<script>document.documentElement.dataset.hacked = 1</script>"
ESCAPING = "</script><img src=x onerror='document.documentElement.dataset.hacked = 1'>"
EMPTY = {"meta", "br", "img", "hr", "input", "link", "path", "use", "image", "rect", "stop"}


class Page(HTMLParser):
    """What a browser would find: addresses, texts of table cells, headings, and whether all tags are closed."""

    def __init__(self, text: str):
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.cells: list[str] = []
        self.sections: list[str] = []
        self.numbers = ""
        self.scripts = 0
        self.svgs = 0
        self._inside = ""
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.addresses += [given[name] for name in ("src", "href", "xlink:href", "action", "data") if name in given]
        assert not [name for name in given if name.startswith("on")]
        self.scripts += tag == "script"
        self.svgs += tag == "svg"
        if tag == "section":
            self.sections.append(given["id"])
        if tag == "td":
            self.cells.append("")
        self._inside = "numbers" if given.get("id") == "numbers" else tag
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in EMPTY:
            self.open.pop()

    def handle_endtag(self, tag):
        if tag not in EMPTY:
            assert self.open.pop() == tag
        self._inside = ""

    def handle_data(self, data):
        if self._inside == "td":
            self.cells[-1] += data
        elif self._inside == "numbers":
            self.numbers += data


def run(*arguments):
    app([*map(str, arguments)], standalone_mode=False)


def refused(*arguments):
    with pytest.raises(JaxffError) as caught:
        run(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def report(model, data, *more, out="report.html"):
    run("report", model, "--data", data, "--out", out, *more)
    text = Path(out).read_text()
    page = Page(text)
    assert all(address.startswith(("#", "data:")) for address in page.addresses)
    # Of the page itself: the viewer's script has addresses in its messages, and the page's policy forbids to use them.
    own = re.sub(r"<script.*?</script>", "", text, flags=re.S)
    assert (
        "http" not in own.replace("http-equiv", "") and "@import" not in own and "url(" not in own.replace("url(#", "")
    )
    assert "default-src 'none'" in text
    return page, text


def evaluated(model, data):
    run("evaluate", model, data, "--json", "errors.json")
    return json.loads(Path("errors.json").read_text())


@pytest.fixture(scope="module")
def alloy():
    """A potential that knows its errors, although nobody trained it."""
    return with_uncertainty(make_potential(("Cu", "Au"), 4.2, architecture=TINY), emt_structures(12))


@pytest.fixture
def here(tmp_path, monkeypatch, alloy):
    monkeypatch.chdir(tmp_path)
    alloy.save("alloy.jaxff")
    write("test.xyz", emt_frames(12, seed=1))
    return tmp_path


@pytest.fixture
def no_viewer(monkeypatch):
    """Pages without the viewer's 3 MB."""
    monkeypatch.setattr(viewer_module, "_script", lambda: None)


def test_numbers_are_those_of_evaluate(here, no_viewer):
    page, text = report("alloy.jaxff", "test.xyz")
    shown = json.loads(page.numbers)
    elements = shown.pop("element")
    expected = evaluated("alloy.jaxff", "test.xyz")
    assert shown == expected
    for errors in (expected, *expected["config_type"].values()):
        assert f"{errors['energy_rmse_mev_per_atom']:.2f}" in page.cells
        assert f"{errors['force_rmse_ev_per_angstrom']:.4f}" in page.cells
        assert f"{100 * errors['coverage']:.1f}" in page.cells
    assert page.sections == ["parity", "errors", "uncertainty", "map", "training"][: len(page.sections)]
    assert {"parity", "errors", "uncertainty", "map"} <= set(page.sections)
    assert set(elements) == {"Cu", "Au"}
    # Forces of all components: the elements' mean squares, weighted by atoms, are those of all.
    atoms = sum(e["n_atoms"] for e in elements.values())
    square = sum(e["n_atoms"] * e["force_rmse_ev_per_angstrom"] ** 2 for e in elements.values()) / atoms
    assert square**0.5 == pytest.approx(expected["force_rmse_ev_per_angstrom"], rel=1e-9)
    covered = sum(e["n_atoms"] * e["coverage"] for e in elements.values()) / atoms
    assert covered == pytest.approx(expected["coverage"], rel=1e-9)
    assert "pip install chemiscope" in text


def test_element_errors_are_those_of_its_atoms(here, no_viewer, alloy):
    from jaxff import JaxffCalculator

    page, _ = report("alloy.jaxff", "test.xyz")
    errors = []
    for atoms in read_frames("test.xyz"):
        reference = atoms.get_forces()
        atoms.calc = JaxffCalculator(alloy)
        errors.append((atoms.get_forces() - reference)[atoms.numbers == 79])
    error = np.concatenate(errors)
    found = json.loads(page.numbers)["element"]["Au"]
    assert found["n_atoms"] == len(error)
    assert found["force_mae_ev_per_angstrom"] == pytest.approx(np.abs(error).mean(), rel=1e-5)
    assert found["largest_force_error_ev_per_angstrom"] == pytest.approx(np.linalg.norm(error, axis=1).max(), rel=1e-5)


@pytest.mark.parametrize("kind", ["local", "layers", "grid", "cell", "function"])
def test_any_potential_has_a_page(kind, tmp_path, monkeypatch, no_viewer):
    monkeypatch.chdir(tmp_path)
    potential = MAKE[kind]() if kind != "function" else Potential.from_function(lennard_jones, ["Si", "O"], cutoff=4.0)
    potential.save("m.jaxff")
    frames = []
    for number in range(4):
        atoms = bulk("Si", cubic=True)
        atoms.symbols[: number + 1] = "O"
        atoms.rattle(0.05, seed=number)
        frames.append(labelled(atoms, energy=-30.0 - number, forces=np.full((8, 3), 0.01 * number)))
    write("d.xyz", frames)
    page, _ = report("m.jaxff", "d.xyz")
    assert page.sections[:3] == ["parity", "errors", "map"] and "uncertainty" not in page.sections
    assert page.svgs == 2
    shown = json.loads(page.numbers)
    shown.pop("element")
    assert shown == evaluated("m.jaxff", "d.xyz")


def test_structures_with_few_labels(here, no_viewer):
    frames = emt_frames(3, seed=1)
    write("energies.xyz", [labelled(f, energy=f.get_potential_energy()) for f in frames])
    page, _ = report("alloy.jaxff", "energies.xyz")
    assert page.sections[:3] == ["parity", "errors", "map"] and json.loads(page.numbers)["element"] == {}
    write("forces.xyz", [labelled(f, forces=f.get_forces()) for f in frames])
    assert "energy_rmse_mev_per_atom" not in json.loads(report("alloy.jaxff", "forces.xyz")[0].numbers)
    write("mixed.xyz", [frames[0], labelled(frames[1], energy=1.0), frames[2].copy(), labelled(frames[2], energy=2.0)])
    page, _ = report("alloy.jaxff", "mixed.xyz")
    assert json.loads(page.numbers)["n_structures"] == 4
    write("one.xyz", frames[0])
    assert "map" not in report("alloy.jaxff", "one.xyz")[0].sections
    write("equal.xyz", [frames[0]] * 3)
    assert "map" in report("alloy.jaxff", "equal.xyz")[0].sections


def test_log_rounds_and_properties(here, no_viewer):
    record = {"epoch": 1, "train": {"energy_rmse": 0.1, "force_rmse": 0.3}, "validation": {"force_rmse": 0.4}}
    lines = [json.dumps({**record, "epoch": n}) for n in (1, 2, 3)]
    Path("alloy.jaxff.log.jsonl").write_text("\n".join(lines) + '\n{"epo')
    rounds = [
        {"round": 0, "structures": 20, "labels": 20, "coverage": None, "error_quantile": 1.5, "threshold": 0.25},
        {"round": 1, "structures": 31, "labels": 29, "coverage": 0.93, "error_quantile": 0.2, "threshold": 0.25},
    ]
    Path("rounds.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rounds))
    write("cu.cif", bulk("Cu", cubic=True))
    Path("elastic.json").write_text(
        json.dumps({"elastic_constants_gpa": np.diag([171.0] * 6).tolist(), "bulk_modulus_gpa": 137.5})
    )
    Path("vacancy.json").write_text(json.dumps({"formation_energy_ev": 1.234, "path_energies_ev": [0.0, 0.7, 0.0]}))
    given = ["--rounds", "rounds.jsonl", "--properties", "elastic.json", "--properties", "vacancy.json"]
    page, text = report("alloy.jaxff", "test.xyz", *given)
    assert page.sections[-3:] == ["training", "rounds", "properties"]
    assert {"1.500", "93.0", "171.0", "137.5", "1.234", "31"} <= set(page.cells)
    assert text.count("epoch") >= 1
    Path("alloy.jaxff.log.jsonl").write_text("not a log")
    _, text = report("alloy.jaxff", "test.xyz")
    assert "log.jsonl could not be drawn" in text


def test_bad_input_is_refused_and_nothing_is_lost(here, no_viewer, silicon_potential):
    report("alloy.jaxff", "test.xyz")
    before = Path("report.html").read_bytes()
    silicon_potential.save("si.jaxff")
    write("cu.cif", bulk("Cu", cubic=True))
    Path("notes.txt").write_text("mine")
    Path("bad.jsonl").write_text('{"round": 0}\nnonsense\n{"round": 1}\n')
    Path("text.jsonl").write_text('{"round": 0, "labels": "many"}\n')
    Path("other.json").write_text('["a list"]')
    Path("phonons.json").write_text('{"bands": 1}')
    message = refused("report", "si.jaxff", "--data", "test.xyz", "--out", "report.html")
    assert all(word in message for word in ("Cu", "Au", "Si", "test.xyz", "si.jaxff"))
    assert "energy or forces" in refused("report", "alloy.jaxff", "--data", "cu.cif", "--out", "report.html")
    assert "notes.txt" in refused("report", "alloy.jaxff", "--data", "test.xyz", "--out", "notes.txt")
    assert "test.xyz" in refused("report", "alloy.jaxff", "--data", "test.xyz", "--out", "test.xyz")
    assert "no directory" in refused("report", "alloy.jaxff", "--data", "test.xyz", "--out", "no/report.html")
    assert "gone.xyz" in refused("report", "alloy.jaxff", "--data", "gone.xyz", "--out", "report.html")
    more = ["report", "alloy.jaxff", "--data", "test.xyz", "--out", "report.html"]
    assert "bad.jsonl, line 2" in refused(*more, "--rounds", "bad.jsonl")
    assert "labels" in refused(*more, "--rounds", "text.jsonl")
    assert "gone" in refused(*more, "--rounds", "gone.jsonl")
    assert "other.json" in refused(*more, "--properties", "other.json")
    assert "phonons.json" in refused(*more, "--properties", "phonons.json")
    assert "report.html" in refused(*more, "--rounds", "report.html")
    assert Path("report.html").read_bytes() == before and Path("notes.txt").read_text() == "mine"


def hostile_data():
    frames = emt_frames(8, seed=2)
    names = [HOSTILE, ESCAPING, "$x^$", "_hidden", "a$b", "&lt;", "{{ 7 * 7 }}", "\u2028"]
    for frame, name in zip(frames, names, strict=True):
        frame.info["config_type"] = name
    write("hostile.xyz", frames)


def test_texts_from_files_stay_texts(here, no_viewer, alloy):
    hostile_data()
    alloy.save("<u>&.jaxff")
    page, text = report("<u>&.jaxff", "hostile.xyz")
    assert page.scripts == 1  # the numbers
    assert HOSTILE in page.cells and "<script>document" not in text
    assert "{{ 7 * 7 }}" in page.cells and "<u>" not in text
    assert HOSTILE in json.loads(page.numbers)["config_type"]


def opened(path: Path) -> tuple[str, str]:
    """The page after its scripts ran in a browser without a network, and what the browser complained about."""
    result = subprocess.run(
        [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--enable-unsafe-swiftshader", "--dump-dom"]
        + ["--host-resolver-rules=MAP * ~NOTFOUND", "--virtual-time-budget=20000", "--enable-logging=stderr"]
        + [f"--user-data-dir={path.parent / 'browser'}", path.resolve().as_uri()],
        capture_output=True, text=True, timeout=300, check=True,
    )  # fmt: skip
    said = [line for line in result.stderr.splitlines() if "CONSOLE" in line and "GL Driver" not in line]
    return result.stdout, "\n".join(said)


@pytest.mark.slow
@pytest.mark.gate
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium")
def test_in_a_browser(here):
    hostile_data()
    _, text = report("alloy.jaxff", "hostile.xyz")
    document, said = opened(here / "report.html")
    assert "hacked" not in document.split("<body", 1)[0]
    assert "Refused" not in said and "Content Security Policy" not in said and "Uncaught" not in said, said
    assert document.count("<svg") >= 3
    if find_spec("chemiscope"):
        assert "chemiscope.min" in text or len(text) > 2e6
        assert 'data-map="open"' in document
    # What tries to run all the same is stopped by the page's policy.
    Path("forged.html").write_text(text.replace("</h1>", f"</h1>{HOSTILE}{ESCAPING}", 1))
    document, said = opened(here / "forged.html")
    assert "data-hacked" not in document.split("<body", 1)[0] and "Content Security Policy" in said


def test_principal_components_are_those_of_the_covariance():
    generator = np.random.default_rng(0)
    features = generator.normal(size=(40, 3)) @ np.diag([5.0, 2.0, 0.1]) @ generator.normal(size=(3, 3))
    places, parts = principal_components(features)
    values = np.linalg.eigvalsh(np.cov(features.T))[::-1]
    np.testing.assert_allclose(parts, values[:2] / values.sum(), rtol=1e-9)
    np.testing.assert_allclose(np.var(places, axis=0, ddof=1), values[:2], rtol=1e-9)
    turned, _ = principal_components(features + 7.0)
    np.testing.assert_allclose(turned, places, atol=1e-9)
    flat, parts = principal_components(np.ones((3, 5)))
    assert not flat.any() and not parts.any()


def test_bins_hold_everything_once_and_do_not_cut_equal_values():
    values = np.concatenate([np.full(100, 0.3), np.random.default_rng(0).random(300)])
    bins = bins_of(values)
    assert sorted(np.concatenate(bins)) == list(range(400))
    assert sum(0 in part for part in bins) == 1 and set(range(100)) <= set(next(p for p in bins if 0 in p))
    assert len(bins_of(np.ones(5))) == 1


def test_many_groups_share_grey():
    colors = group_colors([f"g{n:02d}" for n in range(30) for _ in range(30 - n)])
    assert [colors[f"g{n:02d}"] for n in range(len(COLORS))] == COLORS
    assert set(list(colors.values())[len(COLORS) :]) == {OTHERS}
