"""The README says what the report says: tables, links, commands."""

import re

import pandas as pd
import pytest

from facet import profiles, readme
from facet.paths import NOTEBOOKS, REPORTS, ROOT

TEXT = readme.README.read_text(encoding="utf-8")
INTERVALS = REPORTS / "small" / "tables" / "evaluation_intervals.csv"
# What a column of the results is in the CSV, written down here once more on purpose.
MEASURES = {
    "shape (mm)": ("exact", "mm"),
    "as placed (mm)": ("exact-unaligned", "mm"),
    "depth (mm)": ("depth", "mm"),
    "landmarks (% of landmark-box)": ("landmarks", "landmark-box"),
    "ICP (% of bbox)": ("icp", "bbox"),
}


def rows(table: str) -> list[list[str]]:
    """Cells of a Markdown table, the head first."""
    lines = [line for line in table.splitlines() if line.startswith("|") and not line.startswith("| ---")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def tables_of(block: str) -> dict[str, list[list[str]]]:
    """Test set → its table."""
    parts = re.split(r"^\*\*`([\w-]+)`\*\*", block, flags=re.MULTILINE)[1:]
    return {name: rows(text) for name, text in zip(parts[::2], parts[1::2], strict=True)}


@pytest.mark.skipif(not INTERVALS.is_file(), reason="notebook 30 has not run in the profile small")
def test_results_are_those_of_the_report():
    """Every number of the table stands in the CSV; an equal machine gives equal numbers, others nearly."""
    block = readme.block(TEXT, "results")
    frame = pd.read_csv(INTERVALS, keep_default_na=False)
    shown = tables_of(block)
    assert set(shown) == set(frame["test_set"])
    for test_set, (head, *lines) in shown.items():
        here = frame[frame["test_set"] == test_set]
        here = here[~here["variant"].str.contains("smoothed")]  # the README shows bare maps and the prior's
        labels = (here["model"] + " " + here["variant"]).str.strip()
        assert {re.match(r"\[(.+?)\]", line[0])[1] for line in lines} == set(labels)
        for line in lines:
            mine = here[labels == re.match(r"\[(.+?)\]", line[0])[1]]
            for column, shown_cell in zip(head[1:], line[1:], strict=True):
                name, n = column.split(", n = ")
                cell, _, own = shown_cell.partition(", n = ")  # of a system that was scored on fewer
                assert not own or int(own) < int(n)
                metric, kind = MEASURES[name]
                row = mine[(mine["metric"] == metric) & (mine["normaliser"] == kind)].iloc[0]
                assert int(own or n) == row["n"]
                written = [float(number) for number in re.findall(r"[\d.]+", cell)]
                assert written == pytest.approx([row["mean"], row["low"], row["high"]], rel=0.02, abs=0.006)


@pytest.mark.skipif(not INTERVALS.is_file(), reason="notebook 30 has not run in the profile small")
def test_results_say_what_they_were_measured_with():
    block = readme.block(TEXT, "results")
    small = profiles.load("small")
    for words in (
        f"{small.image_size} pixels",
        f"{small.samples:,}",
        "seed 0",
        "bootstrap",
        "n counts",
        "cores",
    ):
        assert words in block


def test_profiles_are_those_of_their_files():
    assert readme.block(TEXT, "profiles") == readme.sizes()


def test_every_notebook_stands_in_the_table():
    listed = re.findall(r"\(notebooks/([^)]+\.ipynb)\)", readme.block(TEXT, "notebooks"))
    assert listed == sorted(path.name for path in NOTEBOOKS.glob("[0-9]*.ipynb"))


def test_first_screen():
    """One sentence, the two commands and a picture before anything else."""
    first = "\n".join(TEXT.splitlines()[:14])
    assert "make report" in first
    assert "make test" in first
    assert re.search(r"!\[[^\]]{20,}\]\(reports/small/figures/\w+\.png\)", first)


@pytest.mark.parametrize("path", [ROOT / "README.md", ROOT / "data" / "README.md"], ids=["root", "data"])
def test_links_lead_somewhere(path):
    links = re.findall(r"\]\(([^)#]+?)\)", path.read_text(encoding="utf-8"))
    missing = [link for link in links if "://" not in link and not (path.parent / link).exists()]
    assert not missing


def test_links_of_the_stored_pages_lead_somewhere():
    pages = [p for p in (REPORTS / n / "index.html" for n in ("small", "full")) if p.is_file()]
    assert pages
    for page in pages:
        for target in re.findall(r'(?:href|src)="([^"#]+)"', page.read_text(encoding="utf-8")):
            assert "//" in target or (page.parent / target).exists(), f"{page}: {target}"


def test_commands_exist():
    from facet.cli import main

    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^(\w+):", makefile, re.MULTILINE))
    assert set(re.findall(r"\bmake (\w+)", TEXT)) <= targets
    for command in set(re.findall(r"bin/facet (\w+)", TEXT)):
        with pytest.raises(SystemExit) as end:
            main([command, "--help"])
        assert end.value.code == 0


# The tool itself.


def test_replace_touches_only_what_stands_between_the_comments():
    text = "a\n<!-- x: begin -->\nold\n<!-- x: end -->\nb\n<!-- y: begin --><!-- y: end -->\n"
    once = readme.replace(text, "x", "| new |")
    assert once == text.replace("old", "| new |")
    assert readme.replace(once, "x", "| new |") == once
    assert readme.block(once, "x") == "| new |"
    assert readme.block(readme.replace(once, "y", r"\1 \g<0>"), "y") == r"\1 \g<0>"


def test_a_missing_pair_of_comments_is_named():
    with pytest.raises(ValueError, match=r"no pair of comments <!-- results: begin -->"):
        readme.replace("nothing here", "results", "x")


def test_results_without_an_evaluation_say_what_to_run(tmp_path, monkeypatch):
    monkeypatch.setattr(readme, "REPORTS", tmp_path)
    with pytest.raises(FileNotFoundError, match="make report PROFILE=small ONLY=30"):
        readme.results("small")


def test_a_row_links_the_notebook_that_shows_it():
    for label, notebook in (
        ("prn prior", "10_prn"),
        ("prn wide", "15_rotation"),
        ("prn wide prior", "15_rotation"),
        ("coefficients wide two photos", "14_coefficients"),
        ("mean-face", "30_evaluation"),
    ):
        assert readme._linked(label) == f"[{label}](notebooks/{notebook}.ipynb)"
