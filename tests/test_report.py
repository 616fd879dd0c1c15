"""Results are written in one step, are the same bytes twice, and belong to one notebook."""

import io
import json
import os
import subprocess
import sys

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from facet import files, jobs, page, profiles, provenance, report
from facet.paths import PROFILES, ROOT

NOTEBOOK = "10_prn"


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A report and notebooks of its own, so that nothing of the checkout is touched."""
    (tmp_path / "notebooks").mkdir()
    for name in ("10_prn", "11_twoview"):
        cell = {"cell_type": "markdown", "metadata": {}, "source": f"# {name[:2]} Title\n\nA `question`?"}
        (tmp_path / "notebooks" / f"{name}.ipynb").write_text(json.dumps({"cells": [cell]}))
    for module in (report, page):
        monkeypatch.setattr(module, "REPORTS", tmp_path / "reports")
    for module in (provenance, page):
        monkeypatch.setattr(module, "NOTEBOOKS", tmp_path / "notebooks")
    for name in ("PROFILE", "SEED", "DEVICE", "TRAIN", "STAGE"):
        monkeypatch.delenv(f"FACET_{name}", raising=False)
    return tmp_path


def frame():
    return pd.DataFrame({"model": ["prn", "mean-face"], "metric": "exact", "mean": [1.23456789, 2.0]})


def curve():
    figure, axes = plt.subplots(figsize=(2, 1.5))
    axes.plot([0, 1, 4], label="squares")
    axes.legend()
    return figure


def test_profiles_grow_and_name_their_faults(tmp_path):
    smoke, small, full = (profiles.load(name) for name in ("smoke", "small", "full"))
    assert profiles.names() == ["smoke", "small", "full"]
    assert smoke.samples < small.samples < full.samples
    assert smoke.steps == 20
    assert full.volume == (192, 192, 200)
    assert small.with_(options={"photos": 1}).options["bootstrap"] == small.options["bootstrap"]
    with pytest.raises(FileNotFoundError, match="smoke"):
        profiles.load("medium")
    path = tmp_path / "own.yaml"
    text = (PROFILES / "smoke.yaml").read_text()
    path.write_text(text.replace("image_size: 64", "image_size: 65"))
    with pytest.raises(ValueError, match="multiple of 32"):
        profiles.load(path)
    path.write_text(text + "colour: 3\n")
    with pytest.raises(ValueError, match="unknown value colour"):
        profiles.load(path)
    path.write_text(text.replace("  bootstrap:", "  bootstraps:"))
    with pytest.raises(ValueError, match=r"unknown option bootstraps \(meant: bootstrap\?\)"):
        profiles.load(path)


BAD = {
    "learning_rate: 1e-3": "learning_rate must be a number above 0, got '1e-3', .* write 1.0e-3$",
    "learning_rate: 1E3": "write 1.0e\\+3$",
    "learning_rate: -1.0": "learning_rate must be a number above 0, got -1.0$",
    "width: .nan": "width must be a number above 0, got nan",
    "width: yes": "width must be a number above 0, got True",
    "batch: 0": "batch must be a whole number, 1 or more, got 0",
    "batch: abc": "batch must be a whole number, 1 or more, got 'abc'$",
    "batch: 2.5": "batch must be a whole number, 1 or more, got 2.5$",
    'samples: "80"': "samples must be a whole number, 1 or more, got '80', .*: write 80$",
    'image_size: "64"': "image_size must be a whole number, .*: write 64$",
    "threads:": "threads must be a whole number, 1 or more, got None",
    "halve_every: -5": "halve_every must be a whole number, 0 or more, got -5",
    "seed: x": "seed must be a whole number, 0 or more, got 'x'$",
    "people: 5": r"people wants \{train: …, val: …, test: …\}, got 5",
    "people: {train: 0, val: 8, test: 8}": "people.train must be a whole number, 1 or more, got 0",
    "people: {train: 24, val: 8}": "people wants",
    "volume: 5": r"volume wants three numbers \[height, width, depth\], got 5",
    "volume: [32, 32, a]": "each side of volume must be a whole number, 1 or more, got 'a'$",
    "rendered: sometimes": "rendered is cached or streamed, not 'sometimes'",
    "name: 7": "name must be a text, got 7",
    "name: smoke": "name is 'smoke', but must be that of the file: own",
}


def own_profile(folder, line=""):
    """A profile of one's own with a line of `smoke` changed."""
    text = (PROFILES / "smoke.yaml").read_text().replace("name: smoke", "name: own")
    lines = [line if line and old.startswith(line.split(":")[0] + ":") else old for old in text.splitlines()]
    path = folder / "own.yaml"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("line", BAD)
def test_a_bad_value_of_a_profile_is_named_with_its_file(line, tmp_path):
    with pytest.raises(ValueError, match=BAD[line]) as told:
        profiles.load(own_profile(tmp_path, line))
    assert str(told.value).startswith(f"{tmp_path / 'own.yaml'}: ")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "own.yaml is no profile: it must hold lines"),
        (b"- 1\n", "own.yaml is no profile"),
        (b"name: [own\n", "own.yaml is no YAML: while parsing"),
        (b"name: \xff\n", "own.yaml is no YAML"),
    ],
)
def test_what_is_no_profile_is_named(content, message, tmp_path):
    path = tmp_path / "own.yaml"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        profiles.load(path)


def test_a_profile_of_one_s_own_is_read_and_a_broken_one_hides_no_other(tmp_path, monkeypatch):
    own = profiles.load(own_profile(tmp_path, "learning_rate: 1.0e-3"))
    assert own == profiles.load("smoke").with_(name="own")
    own_profile(tmp_path, "halve_every: 0")
    (tmp_path / "broken.yaml").write_text("name: [")
    monkeypatch.setattr(profiles, "PROFILES", tmp_path)
    assert profiles.names() == ["own", "broken"]
    assert profiles.load("own").halve_every == 0
    (tmp_path / "own.yaml").write_text((tmp_path / "own.yaml").read_text() + "options:\n")
    assert profiles.load("own").options == {}
    (tmp_path / "own.yaml").write_text((tmp_path / "own.yaml").read_text() + "options: 5\n")
    with pytest.raises(ValueError, match=r"own\.yaml: options must be lines `name: value`, got 5"):
        profiles.load("own")


def test_environment_overrides_a_literal(home, monkeypatch):
    assert report.start(NOTEBOOK, profile="smoke").profile.name == "smoke"
    monkeypatch.setenv("FACET_PROFILE", "smoke")
    monkeypatch.setenv("FACET_SEED", "3")
    run = report.start(NOTEBOOK, profile="small", seed=0)
    assert (run.profile.name, run.seed) == ("smoke", 3)
    monkeypatch.setattr(report, "_injected", lambda: {"profile"})
    assert report.start(NOTEBOOK, profile="small", seed=0).profile.name == "small"
    with pytest.raises(ValueError, match="auto, always or never"):
        report.start(NOTEBOOK, profile="small", train="sometimes")
    with pytest.raises(ValueError, match="device 'tpu9' cannot be used on this machine: take cpu"):
        report.start(NOTEBOOK, profile="small", device="tpu9")
    monkeypatch.setenv("FACET_SEED", "three")
    with pytest.raises(ValueError, match="FACET_SEED is 'three' in the environment: set it to a whole"):
        report.start(NOTEBOOK, profile="small")


def test_a_damaged_provenance_is_named(tmp_path):
    path = tmp_path / "provenance.json"
    assert provenance.read(path) == {}
    path.write_text('<<<<<<< HEAD\n{"30_evaluation": {}}\n')
    with pytest.raises(ValueError, match=r"provenance\.json is damaged .* take it back from git"):
        provenance.read(path)


def test_a_job_is_done_again_when_its_results_or_its_stamp_were_changed(tmp_path, monkeypatch):
    monkeypatch.setattr(jobs, "REPORTS", tmp_path / "reports")
    monkeypatch.setattr(jobs, "RUNS", tmp_path / "runs")
    (job,) = jobs.find("smoke", only="01")
    result = tmp_path / "reports" / "smoke" / "tables" / "a.csv"
    for path in (result, job.stamp):
        path.parent.mkdir(parents=True)
    result.write_text("1")
    stamp = json.dumps({"results": {"tables/a.csv": files.sha256(result)}})

    def kept(text):
        job.stamp.write_text(text)
        job.forget_if_changed()
        return job.stamp.exists()

    assert kept(stamp)
    assert not kept(stamp[:-5])
    result.write_text("2")
    assert not kept(stamp)


def test_equal_results_are_equal_bytes(home):
    contents = []
    for _ in range(2):
        run = report.start(NOTEBOOK, profile="smoke", device="cpu")
        run.figure(curve(), "curve", caption="Squares")
        run.figure(np.linspace(0, 1, 60).reshape(4, 5, 3), "image")
        run.table(frame(), "nme")
        paths = sorted((home / "reports" / "smoke").rglob("*.[pcm][nsd]*"))
        contents.append({p.name: p.read_bytes() for p in paths})
    assert contents[0] == contents[1]
    assert set(contents[0]) == {"curve.png", "image.png", "nme.csv", "nme.md"}
    picture = Image.open(home / "reports/smoke/figures/curve.png")
    assert picture.info.keys() <= {"dpi"}


def test_photographs_are_jpegs_and_small_in_the_notebook(home, monkeypatch, rng):
    shown = []
    monkeypatch.setattr(report, "_show", shown.append)
    run = report.start(NOTEBOOK, profile="smoke", device="cpu")
    picture = np.kron(rng.random((30, 60, 3)), np.ones((40, 40, 1)))  # 1200 × 2400 pixels
    for _ in range(2):
        run.figure(picture, "people", photo=True)
    path = home / "reports/smoke/figures/people.jpg"
    assert np.abs(np.asarray(Image.open(path)) / 255 - picture).mean() < 0.03
    assert provenance.read(home / "reports/smoke/provenance.json")[NOTEBOOK]["artefacts"].keys() == {
        "figures/people.jpg"
    }
    assert Image.open(io.BytesIO(shown[0])).size == (report.SHOWN, report.SHOWN // 2)
    assert shown[0] == shown[1]
    run.figure(picture[:80, :80], "small", photo=True)
    assert Image.open(io.BytesIO(shown[2])).size == (80, 80)
    with pytest.raises(ValueError, match="bare name"):
        run.figure(picture, "people.jpg")


def test_tables_have_the_common_columns_first(home):
    run = report.start(NOTEBOOK, profile="smoke", device="cpu")
    run.table(frame().assign(note="x"), "nme")
    text = (home / "reports/smoke/tables/nme.csv").read_text()
    assert text.splitlines()[:2] == [
        "model,metric,profile,seed,device,mean,source,note",
        "prn,exact,smoke,0,cpu,1.23457,facet,x",
    ]
    assert "| prn " in (home / "reports/smoke/tables/nme.md").read_text()
    pd.testing.assert_frame_equal(
        pd.read_csv(home / "reports/smoke/tables/nme.csv").iloc[:, :2], frame().iloc[:, :2]
    )


def test_a_table_of_other_conditions_says_so(home):
    run = report.start(NOTEBOOK, profile="smoke", device="cpu")
    rows = pd.DataFrame({"edge": ["taper"], "mean": [1.0]})
    run.table(rows, "own", caption="Edges.")
    run.table(rows, "others", caption="Edges.", conditions="64 pixels, seeds 0 and 1")
    own, others = ((home / f"reports/smoke/tables/{name}.md").read_text() for name in ("own", "others"))
    assert own.endswith("Edges. (profile `smoke`, seed 0, cpu)\n")
    assert others.endswith("Edges. (64 pixels, seeds 0 and 1)\n")


def test_another_seed_gets_its_own_files(home):
    run = report.start(NOTEBOOK, profile="smoke", seed=2, device="cpu")
    run.table(frame(), "runs")
    assert (home / "reports/smoke/tables/runs-seed2.csv").is_file()
    with pytest.raises(ValueError, match="bare name"):
        run.table(frame(), "a/b")


def test_a_result_belongs_to_one_notebook(home):
    report.start("10_prn", profile="smoke").table(frame(), "nme")
    other = report.start("11_twoview", profile="smoke")
    with pytest.raises(ValueError, match="belongs to 10_prn"):
        other.table(frame(), "nme")
    (home / "notebooks/10_prn.ipynb").unlink()
    other.table(frame(), "nme")
    assert set(provenance.read(home / "reports/smoke/provenance.json")) == {"11_twoview"}


def test_staged_results_arrive_together_and_old_ones_go(home, monkeypatch):
    reports = home / "reports" / "smoke"
    first = report.start(NOTEBOOK, profile="smoke")
    first.table(frame(), "old")
    first.table(frame(), "nme")
    before = (reports / "tables/nme.csv").read_bytes()
    monkeypatch.setenv("FACET_STAGE", str(home / "stage"))
    run = report.start(NOTEBOOK, profile="smoke")
    run.table(frame().assign(mean=7.0), "nme")
    assert (reports / "tables/nme.csv").read_bytes() == before
    names = report.publish(home / "stage", "smoke", NOTEBOOK, {"total_seconds": 1.0})
    assert names == ["tables/nme.csv", "tables/nme.md"]
    assert (reports / "tables/nme.csv").read_bytes() != before
    assert not list((reports / "tables").glob("old.*"))
    entry = provenance.read(reports / "provenance.json")[NOTEBOOK]
    assert entry["total_seconds"] == 1.0
    assert set(entry["artefacts"]) == {"tables/nme.csv"}


def test_the_page_shows_everything_without_a_network(home):
    run = report.start(NOTEBOOK, profile="smoke")
    run.figure(curve(), "curve", caption="Squares of `n` <1>")
    run.table(frame(), "nme", caption="Errors")
    run.viewer("<html>turn me</html>", "face", caption="A face")
    text = page.write("smoke").read_text()
    assert 'src="figures/curve.png"' in text
    assert "Squares of <code>n</code> &lt;1&gt;" in text
    assert 'iframe src="viewers/face.html"' in text
    assert "1.235" in text
    assert "<code>11_twoview</code>" in text
    assert "http" not in text
    assert str(home) not in text
    assert page.write("smoke").read_text() == text


def test_files_are_whole_or_not_there(tmp_path):
    path = tmp_path / "a" / "x.txt"
    with pytest.raises(ZeroDivisionError), files.write_beside(path) as temporary:
        temporary.write_text("half" + str(1 / 0))
    assert list(tmp_path.rglob("*.txt")) == []
    files.write_text(path, "one")
    with files.write_beside(tmp_path / "a") as folder:
        folder.mkdir()
        (folder / "y.txt").write_text("two")
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == ["y.txt"]
    with pytest.raises(FileNotFoundError), files.write_beside(path):
        pass
    files.write_text(path, "abc")
    assert files.sha256(path).startswith("ba7816bf8f01cfea")


def test_import_is_light():
    code = "import sys, facet; print([m for m in ('torch', 'matplotlib', 'pandas') if m in sys.modules])"
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "lib")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.stdout.strip() == "[]"


def test_every_module_of_the_package_is_there():
    import facet

    for name in facet._MODULES:
        assert getattr(facet, name).__name__ == f"facet.{name}"


def test_json_keeps_lists_of_plain_values_on_one_line(tmp_path):
    path = tmp_path / "values.json"
    rows = [[1, 2], [3]]
    value = {"b": [1, 2.5, None], "a": {"names": ["x, y", 'a "[\n 1\n ]" b'], "rows": rows, "none": []}}
    files.write_json(path, value)
    assert json.loads(path.read_text(encoding="utf-8")) == value
    assert '"b": [1, 2.5, null]' in path.read_text(encoding="utf-8")
    assert len(path.read_text(encoding="utf-8").splitlines()) < len(json.dumps(value, indent=2).splitlines())


def test_a_table_of_many_rows_is_a_csv_alone(home):
    run = report.start(NOTEBOOK, profile="smoke")
    for rows, there in ((report.LONG + 1, False), (report.LONG, True), (report.LONG + 1, False)):
        run.table(pd.DataFrame({"x": np.arange(float(rows))}), "values")
        where = home / "reports" / "smoke"
        path = where / "tables" / "values.csv"
        assert path.with_suffix(".md").is_file() == there
        shown = page.page("smoke", where)
        assert ("values.md" in shown) == there
        assert f"the first {page.ROWS_SHOWN} of {rows} rows" in shown
        assert shown.count("<tr>") == page.ROWS_SHOWN + 1
