"""Stored notebooks are as a reader wants them; and the checks that say so find each fault."""

import copy
import json
import subprocess
import sys

import pytest

from facet import jobs, notebooks
from facet.paths import NOTEBOOKS, ROOT

STORED = sorted(NOTEBOOKS.glob("*.ipynb"))
NAMES = {"profile", "seed", "device", "train"}


@pytest.mark.parametrize("path", STORED, ids=lambda p: p.stem)
def test_stored_notebook_is_clean(path):
    assert notebooks.problems(path) == []


@pytest.mark.parametrize("path", STORED, ids=lambda p: p.stem)
def test_parameters(path):
    assert "profile" in jobs.parameter_names(path)
    heading, text = jobs.title(path)
    assert heading.startswith(path.stem.split("_")[0])
    assert len(text) > 20


def code(count, source, *, tags=(), outputs=()):
    metadata = {"tags": list(tags)} if tags else {}
    return {
        "cell_type": "code",
        "id": f"c{count}",
        "metadata": metadata,
        "execution_count": count,
        "source": source,
        "outputs": list(outputs),
    }


def stream(text, name="stdout"):
    return {"output_type": "stream", "name": name, "text": text}


def good():
    return {
        "nbformat": 4,
        "nbformat_minor": 5,
        "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3"}},
        "cells": [
            {"cell_type": "markdown", "id": "t", "metadata": {}, "source": "# 10 Title\n\nA question?"},
            code(1, 'profile = "small"\nseed = 0', tags=["parameters"]),
            code(2, "print(4)", tags=["nbval-check-output"], outputs=[stream("4\n")]),
        ],
    }


def found(tmp_path, notebook):
    path = tmp_path / "10_title.ipynb"
    path.write_text(json.dumps(notebook), encoding="utf-8")
    return " ".join(notebooks.problems(path))


def test_a_good_notebook_has_no_problems(tmp_path):
    assert found(tmp_path, good()) == ""


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda n: n["cells"][2].update(execution_count=7), "counts are not 1 to n"),
        (lambda n: n["cells"][2].update(execution_count=None), "counts are not 1 to n"),
        (lambda n: n["cells"][1].update(metadata={}), "exactly one cell tagged"),
        (lambda n: n["cells"][2].update(outputs=[]), "nbval-check-output"),
        (lambda n: n["metadata"].update(widgets={}), "widget state"),
        (lambda n: n["cells"][2]["outputs"].append(stream("hm", "stderr")), "writes to stderr"),
        (lambda n: n["cells"][2].update(source="x = 1\n" * 26), "26 lines"),
        (lambda n: n["cells"].pop(0), "no title"),
        (lambda n: n["cells"][2]["metadata"].update(papermill={}), "papermill's traces"),
        (
            lambda n: n["cells"][2]["outputs"].append(
                {"output_type": "error", "ename": "ValueError", "evalue": "no", "traceback": []}
            ),
            "stored error ValueError: no",
        ),
        (lambda n: n["cells"][0].update(source="# 10 T " + "x" * notebooks.LARGEST), "bytes, more than"),
    ],
)
def test_each_fault_is_named(tmp_path, change, words):
    notebook = good()
    change(notebook)
    assert words in found(tmp_path, notebook)


def test_clean_keeps_results_and_strips_the_rest():
    dirty = good()
    dirty["metadata"].update(widgets={"state": 1}, papermill={"duration": 2})
    view = {
        "output_type": "display_data",
        "data": {notebooks.WIDGET: {}, "text/plain": "Plot"},
        "metadata": {},
    }
    dirty["cells"][2]["outputs"] = [stream("4"), stream("\n"), view]
    dirty["cells"][2]["metadata"].update(papermill={}, execution={})
    before = copy.deepcopy(dirty)
    cleaned = notebooks.clean(dirty)
    assert dirty == before
    assert cleaned["cells"] == good()["cells"]
    assert set(cleaned["metadata"]) == {"kernelspec", "language_info"}
    assert notebooks.clean(cleaned) == cleaned


def test_ruff_passes_on_notebooks():
    if not STORED:
        pytest.skip("no notebooks yet")
    command = [sys.executable, "-m", "ruff", "check", "--no-cache", *map(str, STORED)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
