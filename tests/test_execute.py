"""Notebooks run again when something they depend on changed, and only then; failures are named."""

import json
import shutil
import subprocess
import sys

import pytest

from facet import cli, dependencies, execute, files, jobs
from facet.paths import PROFILES, ROOT

pytest.importorskip("papermill")


def cell(source, *tags):
    return {
        "cell_type": "code",
        "id": f"c{abs(hash(source)) % 10**6}",
        "metadata": {"tags": list(tags)},
        "execution_count": None,
        "outputs": [],
        "source": source,
    }


def write_notebook(folder, name, *sources):
    first = {"cell_type": "markdown", "id": "t", "metadata": {}, "source": f"# {name[:2]} Title\n\nWhat?"}
    cells = [first, cell('profile = "small"\nseed = 0', "parameters"), *map(cell, sources)]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    path = folder / f"{name}.ipynb"
    path.write_text(json.dumps({"cells": cells, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}))
    return path


@pytest.fixture
def notebooks(tmp_path, monkeypatch):
    folder = tmp_path / "notebooks"
    folder.mkdir()
    monkeypatch.setattr(jobs, "NOTEBOOKS", folder)
    monkeypatch.setattr(jobs, "REPORTS", tmp_path / "reports")
    monkeypatch.setattr(jobs, "WEIGHTS", tmp_path / "weights")
    monkeypatch.setattr(jobs, "CACHE", tmp_path / "cache")
    return folder


def test_key_follows_what_the_notebook_depends_on(notebooks, monkeypatch):
    path = write_notebook(notebooks, "10_a", "import facet\nfacet.training.fit")
    key = jobs.Job(path, "smoke").key
    assert jobs.Job(path, "small").key != key
    assert jobs.Job(path, "smoke", seed=1).key != key
    stored = json.loads(path.read_text())
    printed = {"output_type": "stream", "name": "stdout", "text": "4"}
    stored["cells"][2].update(execution_count=1, outputs=[printed])
    path.write_text(json.dumps(stored))
    assert jobs.Job(path, "smoke").key == key, "outputs must not count"
    weights = notebooks.parent / "weights" / "prn-smoke.safetensors"
    files.write_text(weights, "1")
    with_weights = jobs.Job(path, "smoke").key
    assert with_weights != key
    files.write_text(weights.with_name("prn-small.safetensors"), "1")
    assert jobs.Job(path, "smoke").key == with_weights, "another profile's weights must not count"
    made = notebooks.parent / "cache" / "weights" / "prn-small.safetensors"
    before = jobs.Job(path, "small").key
    files.write_text(made, "2")
    assert jobs.Job(path, "small").key != before, "what was trained on this machine counts"
    files.write_text(made.with_name("prn-smoke.safetensors"), "2")
    assert jobs.Job(path, "smoke").key == with_weights, "but not what notebooks train themselves"
    monkeypatch.setattr(jobs, "sha256", lambda p: files.sha256(p) + p.name * (p.name == "loop.py"))
    assert jobs.Job(path, "smoke").key != with_weights, "a library file two imports away must count"


def test_a_notebook_depends_only_on_what_it_uses(notebooks):
    source = "%matplotlib inline\nimport facet\nx = facet.geometry.euler_angles"
    path = write_notebook(notebooks, "10_a", source)
    modules = dependencies.of_notebook(path)
    assert {"facet", "facet.geometry"} <= modules
    assert not any(m.startswith("facet.training") for m in modules)


def test_find_by_number_and_name(notebooks):
    for name in ("10_prn", "11_twoview", "30_evaluation"):
        write_notebook(notebooks, name)
    assert [j.name for j in jobs.find("smoke", only="11, evaluation")] == ["11_twoview", "30_evaluation"]
    assert [j.name for j in jobs.find("smoke", only="10", seeds=[0, 1])] == ["10_prn", "10_prn-seed1"]
    with pytest.raises(FileNotFoundError, match="99"):
        jobs.find("smoke", only="99")
    with pytest.raises(ValueError, match="no parameter colour"):
        _ = jobs.Job(notebooks / "10_prn.ipynb", "smoke", parameters={"colour": 1}).injected


def test_bad_input_ends_with_2_and_a_failed_notebook_with_1(tmp_path, monkeypatch, capsys):
    def fails(*_, **__):
        raise execute.NotebookError("10_prn failed")

    monkeypatch.setattr(execute, "_snakemake", lambda *_: pytest.fail("notebooks ran"))
    (tmp_path / "own.yaml").write_bytes((PROFILES / "smoke.yaml").read_bytes())
    for command, bad in ((cli.main, "facet: "), (execute.main, "")):
        for options, message in (
            (["--profile", "smoke", "--only", "99"], "no notebook in "),
            (["--profile", "huge"], "no profile 'huge'"),
            (["--profile", str(tmp_path / "own.yaml")], f"{tmp_path / 'own.yaml'} is not in {PROFILES}: "),
        ):
            assert command(["report", *options]) == 2
            printed = capsys.readouterr()
            assert printed.err.startswith(bad + message)
            assert printed.out == ""
        with monkeypatch.context() as patch:
            patch.setattr(execute, "report", fails)
            assert command(["report", "--profile", str(PROFILES / "smoke.yaml")]) == 1
        assert capsys.readouterr().err == "10_prn failed\n"


@pytest.mark.slow
def test_report_runs_what_changed_and_names_what_failed(tmp_path):
    shutil.copytree(ROOT / "notebooks" / "profiles", tmp_path / "notebooks" / "profiles")
    shutil.copy(ROOT / "Snakefile", tmp_path)
    start = 'import facet\nrun = facet.report.start("{}", profile=profile, seed=seed)'
    table = 'import pandas as pd\nrun.table(pd.DataFrame({"a": [%d]}), "numbers")'
    write_notebook(tmp_path / "notebooks", "10_good", start.format("10_good"), table % 1)
    write_notebook(tmp_path / "notebooks", "11_bad", start.format("11_bad"), "1 / 0")

    def report():
        script = (
            "import os, sys; os.environ.update(FACET_HOME=sys.argv[1]); os.environ.pop('FACET_STAGE', None);"
            "from facet.execute import main; sys.exit(main(['report', '--profile', 'smoke', '-j', '2']))"
        )
        command = [sys.executable, "-c", script, str(tmp_path)]
        return subprocess.run(command, capture_output=True, text=True)

    first = report()
    assert first.returncode == 1
    assert "11_bad failed in cell [4]: ZeroDivisionError: division by zero" in first.stderr
    results = tmp_path / "reports" / "smoke"
    assert (results / "tables" / "numbers.csv").read_text() == "a\n1\n"
    assert (results / "notebooks" / "11_bad.ipynb").is_file()
    assert "10 " in (results / "index.html").read_text()

    write_notebook(tmp_path / "notebooks", "11_bad", start.format("11_bad"))
    second = report()
    assert (second.returncode, "1 of 2 notebooks" in second.stdout) == (0, True), second.stderr
    (results / "tables" / "numbers.csv").write_text("changed")
    third = report()
    assert "1 of 2 notebooks" in third.stdout
    assert (results / "tables" / "numbers.csv").read_text() == "a\n1\n"


def test_refresh_stores_a_notebook_with_its_results_or_leaves_both(tmp_path):
    shutil.copytree(ROOT / "notebooks" / "profiles", tmp_path / "notebooks" / "profiles")
    start = 'import facet\nrun = facet.report.start("10_good", profile=profile, seed=seed)'
    table = 'import pandas as pd\nrun.table(pd.DataFrame({"a": [%d]}), "%s")'

    def refresh(*sources):
        notebook = write_notebook(tmp_path / "notebooks", "10_good", start, *sources)
        before = notebook.read_bytes()
        script = (
            "import os, sys; os.environ.update(FACET_HOME=sys.argv[1]); os.environ.pop('FACET_STAGE', None);"
            "from facet.execute import main; sys.exit(main(['refresh', '--profile', 'smoke']))"
        )
        done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True)
        tables = (tmp_path / "reports" / "smoke" / "tables").glob("*.csv")
        return done.returncode, notebook.read_bytes() != before, {p.stem: p.read_text() for p in tables}

    assert refresh(table % (1, "old"), table % (2, "same")) == (0, True, {"old": "a\n1\n", "same": "a\n2\n"})
    kept = {"same": "a\n3\n", "new": "a\n4\n"}
    assert refresh(table % (3, "same"), table % (4, "new")) == (0, True, kept)
    assert refresh(table % (5, "same"), "1 / 0") == (1, False, kept)
