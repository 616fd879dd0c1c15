"""Stored notebooks: what is kept in them, what is stripped, and what a good one looks like.

Outputs and execution counts are kept, so that a reader on a web page sees real figures. Widget state, timing
and everything else that changes from run to run is stripped.
"""

import copy
import json
from pathlib import Path

LARGEST = 1_000_000  # bytes of one stored notebook
LONGEST_CELL = 25  # lines of code
MOST_CELLS = 45
WIDGET = "application/vnd.jupyter.widget-view+json"


def clean(notebook: dict) -> dict:
    """A copy of an executed notebook, ready to be stored.

    Kept: cells, ids, tags, outputs, counts. Stripped: widget views and state, papermill's and Jupyter's
        timing, the
    versions of kernel and language. Adjacent pieces of one stream are joined, as nbval compares them.
    """
    kept = copy.deepcopy(notebook)
    kept["metadata"] = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for cell in kept["cells"]:
        tags = cell["metadata"].get("tags")
        cell["metadata"] = {"tags": tags} if tags else {}
        if cell["cell_type"] == "code":
            outputs = [o for o in cell["outputs"] if WIDGET not in o.get("data", {})]
            cell["outputs"] = _joined(outputs)
    return kept


def _joined(outputs: list[dict]) -> list[dict]:
    joined: list[dict] = []
    for output in outputs:
        output.pop("execution_time", None)
        if "metadata" in output:
            output["metadata"] = {}
        last = joined[-1] if joined else {}
        if output["output_type"] == "stream" and last.get("name") == output["name"]:
            last["text"] = "".join(last["text"]) + "".join(output["text"])
        else:
            joined.append(output)
    return joined


def problems(path: Path) -> list[str]:
    """What the house style has against a stored notebook; empty for a good one."""
    text = path.read_text(encoding="utf-8")
    notebook = json.loads(text)
    cells = notebook["cells"]
    code = [c for c in cells if c["cell_type"] == "code"]
    found = []
    if len(text.encode()) > LARGEST:
        found.append(f"{len(text.encode()):,} bytes, more than {LARGEST:,}")
    if not cells or cells[0]["cell_type"] != "markdown" or not "".join(cells[0]["source"]).startswith("# "):
        found.append("the first cell is no title")
    if len(cells) > MOST_CELLS:
        found.append(f"{len(cells)} cells, more than {MOST_CELLS}")
    if [c["execution_count"] for c in code] != list(range(1, len(code) + 1)):
        found.append("execution counts are not 1 to n: run `make notebooks`")
    if sum("parameters" in _tags(c) for c in code) != 1:
        found.append("wants exactly one cell tagged `parameters`")
    if not any("nbval-check-output" in _tags(c) and c["outputs"] for c in code):
        found.append("no executed cell is tagged `nbval-check-output`")
    if "widgets" in notebook["metadata"] or "papermill" in notebook["metadata"]:
        found.append("widget state or timing is stored: run `make notebooks`")
    for number, cell in enumerate(code, 1):
        found += [f"cell [{number}]: {text}" for text in _cell_problems(cell)]
    return found


def _tags(cell: dict) -> list[str]:
    return cell["metadata"].get("tags", [])


def _cell_problems(cell: dict) -> list[str]:
    lines = "".join(cell["source"]).splitlines()
    found = []
    if len(lines) > LONGEST_CELL:
        found.append(f"{len(lines)} lines, more than {LONGEST_CELL}")
    if {"papermill", "execution"} & set(cell["metadata"]) or "injected-parameters" in _tags(cell):
        found.append("holds papermill's traces")
    for output in cell["outputs"]:
        if output["output_type"] == "error":
            found.append(f"stored error {output['ename']}: {output['evalue']}")
        if output.get("name") == "stderr":
            found.append(f"writes to stderr: {''.join(output['text'])[:80]!r}")
        if WIDGET in output.get("data", {}):
            found.append("stores a widget view, which a web page cannot show")
    return found
