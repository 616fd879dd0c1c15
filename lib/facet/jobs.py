"""The report's jobs: one notebook, one profile, one seed; and the key that says whether it has to run again.

The key is a hash of the notebook's cells (not of its outputs), of the library files it uses, of the profile
and the parameters, and of the weights and records it may read. A finished job leaves the stamp
`data/cache/runs/<profile>/<job>-<key>.json`, which lists its results with their checksums.
"""

import ast
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from facet import dependencies, profiles, provenance
from facet.files import sha256
from facet.paths import CACHE, NOTEBOOKS, REPORTS, RUNS, WEIGHTS

READS_WEIGHTS = ("facet.training", "facet.reconstruction")


@dataclass(frozen=True)
class Job:
    """One notebook to execute.

    Attributes:
        notebook: file under `notebooks/`.
        profile: name of the profile.
        seed: another than the profile's own, or None.
        parameters: further values to inject; only names in the notebook's parameters cell are allowed.
    """

    notebook: Path
    profile: str
    seed: int | None = None
    parameters: dict = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The notebook's name, with the seed behind it where that is not the profile's own."""
        variant = self.parameters.get("variant")
        return (
            self.notebook.stem
            + (f"-{variant}" if variant else "")
            + (f"-seed{self.seed}" if self.seed is not None else "")
        )

    @property
    def injected(self) -> dict:
        """What papermill injects.

        Raises:
            ValueError: the notebook has no such parameter.
        """
        values = {"profile": self.profile, **self.parameters}
        if self.seed is not None:
            values["seed"] = self.seed
        known = parameter_names(self.notebook)
        if unknown := sorted(set(values) - known):
            raise ValueError(
                f"{self.notebook.name} has no parameter {', '.join(unknown)} (its cell tagged `parameters` "
                f"sets: {', '.join(sorted(known)) or 'nothing'})"
            )
        return values

    @cached_property
    def key(self) -> str:
        """Sixteen hexadecimal digits that change when the job has to run again."""
        modules = dependencies.of_notebook(self.notebook)
        parts = {
            "cells": [[c["cell_type"], "".join(c["source"])] for c in _cells(self.notebook)],
            "library": {m: sha256(dependencies.module_file(m)) for m in sorted(modules)},
            "profile": profiles.load(self.profile).to_dict(),
            "parameters": {k: self.parameters[k] for k in sorted(self.parameters)},
            "seed": self.seed,
            "inputs": {provenance.short(path): sha256(path) for path in self._inputs(modules)},
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]

    def _inputs(self, modules: set[str]) -> list[Path]:
        found: list[Path] = []
        if modules & set(READS_WEIGHTS):
            names = f"*-{self.profile}*.safetensors"
            found += sorted(WEIGHTS.glob(names))
            if not profiles.load(self.profile).brief:  # those of a brief profile are the notebooks' own work
                found += sorted((CACHE / "weights").glob(names))
        if "facet.studies" in modules:
            found += sorted((REPORTS / "studies").glob("*/*.json"))
        return found

    @property
    def stamp(self) -> Path:
        """The file that says this job is done."""
        return RUNS / self.profile / f"{self.name}-{self.key}.json"

    @property
    def stage(self) -> Path:
        """Where results wait until the last cell has passed."""
        return RUNS / self.profile / f"{self.name}.stage"

    @property
    def failure(self) -> Path:
        """Where a failed run says what went wrong."""
        return RUNS / self.profile / f"{self.name}.failed.json"

    @property
    def executed(self) -> Path:
        """The executed copy, of a failed run too."""
        return REPORTS / self.profile / "notebooks" / f"{self.name}.ipynb"

    def forget_if_changed(self) -> None:
        """Remove the stamp when a result it lists is missing or was changed since, or it cannot be read."""
        if not self.stamp.is_file():
            return
        home = REPORTS / self.profile
        try:
            results = json.loads(self.stamp.read_text(encoding="utf-8"))["results"]
            changed = any(not (home / n).is_file() or sha256(home / n) != s for n, s in results.items())
        except ValueError:
            changed = True
        if changed:
            self.stamp.unlink()


def find(
    profile: str, *, only: str | Iterable[str] = (), seeds: Iterable[int] = (), parameters: dict | None = None
) -> list[Job]:
    """Jobs of a profile in the notebooks' order.

    Args:
        profile: name of the profile.
        only: numbers ("11"), names or parts of names, as a list or separated by commas or spaces; empty: all.
        seeds: further seeds besides the profile's own.
        parameters: injected into every notebook.

    Raises:
        FileNotFoundError: nothing matches.
    """
    wanted = only.replace(",", " ").split() if isinstance(only, str) else list(only)
    notebooks = [p for p in sorted(NOTEBOOKS.glob("[0-9]*.ipynb")) if not wanted or _matches(p, wanted)]
    if not notebooks:
        raise FileNotFoundError(f"no notebook in {NOTEBOOKS} matches {' '.join(wanted) or '[0-9]*.ipynb'}")
    own = profiles.load(profile).seed
    every = [None, *(s for s in seeds if s != own)]
    return [Job(path, profile, seed, dict(parameters or {})) for path in notebooks for seed in every]


def _matches(path: Path, wanted: list[str]) -> bool:
    number = path.stem.split("_")[0]
    return any(w == number if w.isdigit() else w.removesuffix(".ipynb") in path.stem for w in wanted)


def _cells(notebook: Path) -> list[dict]:
    return json.loads(notebook.read_text(encoding="utf-8"))["cells"]


def parameter_names(notebook: Path) -> set[str]:
    """Names assigned in the cell tagged `parameters`."""
    names: set[str] = set()
    for cell in _cells(notebook):
        if "parameters" in cell["metadata"].get("tags", ()):
            for node in ast.walk(ast.parse("".join(cell["source"]))):
                if isinstance(node, ast.Assign):
                    names.update(t.id for t in node.targets if isinstance(t, ast.Name))
    return names


def title(notebook: Path) -> tuple[str, str]:
    """Heading and first paragraph of a notebook's first text cell."""
    for cell in _cells(notebook):
        if cell["cell_type"] == "markdown":
            blocks = [b.strip() for b in "".join(cell["source"]).split("\n\n") if b.strip()]
            first = blocks[0].split("\n", 1)
            text = first[1] if len(first) > 1 else (blocks[1] if len(blocks) > 1 else "")
            return first[0].lstrip("# ").strip(), " ".join(text.split())
    return notebook.stem, ""
