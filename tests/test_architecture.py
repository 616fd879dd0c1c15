"""Data flows one way, training needs few packages, files stay small, nothing names this machine."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from facet import dependencies
from facet.paths import ROOT

# Left to right: a module imports from its own layer and from those before it.
LAYERS = (
    "paths files deadline devices locks parcel profiles provenance dependencies geometry landmarks68 images "
    "jpeg",
    "face_model",
    "rendering outline",
    "crop disturb augment heatmaps",
    "synthetic photos",
    "networks",
    "coefficients",
    "training",
    "reconstruction rotation",
    "trainings",
    "evaluation",
    "studies",
    "pictures portraits figures viewers sheets people_sheets volume_sheets coefficient_pictures "
    "rotation_sheets group_sheets sliders",
    "report jobs notebooks page readme execute",
    "cli cli_photos",
)
LAYER = {name: number for number, names in enumerate(LAYERS) for name in names.split()}
# Imported inside one method, which is a door to the next layer and not a use of it.
DOORS = {("facet.reconstruction.result", "facet.viewers")}

# A GPU machine has these and nothing else; lightning is imported where training starts.
TRAINING = (
    "facet.networks facet.training facet.rendering facet.synthetic facet.augment facet.crop facet.geometry"
)
TRAINING_PACKAGES = {"torch", "numpy", "safetensors", "PIL"}
DRAWING = {"figures", "viewers", "report"}

LONGEST_FILE, LONGEST_FUNCTION = 400, 50
MODULES = dependencies.all_modules()
TEXT = {".py", ".ipynb", ".md", ".toml", ".yaml", ".yml", ".cff", ".sh", ".txt", ".csv", ".json", ".html", ""}


def layer(module: str) -> int:
    name = module.split(".")[1]
    assert name in LAYER, f"{module}: say in tests/test_architecture.py which layer it belongs to"
    return LAYER[name]


@pytest.mark.parametrize("module", [m for m in MODULES if m != "facet"])
def test_imports_flow_one_way(module):
    wrong = {n for n in dependencies.direct(module) if layer(n) > layer(module) and (module, n) not in DOORS}
    assert not wrong, f"{module} imports from its right: {sorted(wrong)}"


def reached_at_import(module: str) -> set[str]:
    """Modules of the package that importing one brings in, with the parents' `__init__`."""
    reached, waiting = set(), {module}
    while waiting:
        name = waiting.pop()
        reached.add(name)
        parents = {name.rsplit(".", k)[0] for k in range(1, name.count(".") + 1)}
        waiting |= (dependencies.direct(name, at_import_time=True) | parents) - reached
    return reached


def foreign(module: str) -> set[str]:
    """Third-party packages that a module imports when it is imported itself."""
    text = dependencies.module_file(module).read_text(encoding="utf-8")
    names = {n.split(".")[0] for n in dependencies.imports(text, module=module, at_import_time=True)}
    return names - set(sys.stdlib_module_names) - {"facet", ""}


@pytest.mark.parametrize(
    "module", [m for m in MODULES if any(m == t or m.startswith(t + ".") for t in TRAINING.split())]
)
def test_training_needs_few_packages(module):
    wrong = {(m, p) for m in reached_at_import(module) for p in foreign(m) - TRAINING_PACKAGES}
    assert not wrong, f"importing {module} brings in {sorted(wrong)}"


def test_a_forbidden_import_is_found():
    source = "import torch\nif True:\n    import scipy.ndimage\ndef f():\n    from open3d import t\n"
    assert dependencies.imports(source, at_import_time=True) == {"torch", "scipy.ndimage"}
    assert "open3d" in dependencies.imports(source)


def test_attributes_and_relative_imports_count():
    source = "import facet\nfacet.report.start('x')\nfacet.reconstruct(p)\n"
    assert {"facet.report", "facet.reconstruction"} <= dependencies.imports(source)
    found = dependencies.imports("from . import prn\nfrom .blocks import x", module="facet.networks")
    assert {"facet.networks.prn", "facet.networks.blocks"} <= found


@pytest.mark.parametrize("module", MODULES)
def test_only_figures_and_viewers_draw(module):
    text = dependencies.module_file(module).read_text(encoding="utf-8")
    packages = {n.split(".")[0] for n in dependencies.imports(text, module=module)}
    assert not packages & {"matplotlib", "k3d"} or module.split(".")[-1] in DRAWING


@pytest.mark.parametrize("path", sorted((ROOT / "lib").rglob("*.py")), ids=lambda p: p.stem)
def test_files_and_functions_stay_small(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= LONGEST_FILE
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) and len(node.body) > 1 else node.body
            lines = body[-1].end_lineno - body[0].lineno + 1
            assert lines <= LONGEST_FUNCTION, f"{node.name}: {lines} lines without its docstring"


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("no git checkout")
    return [ROOT / name for name in listed.stdout.split("\0")[:-1] if (ROOT / name).is_file()]


def test_nothing_names_one_machine():
    pattern = re.compile(r"(?<![\w.:/])/(?:home|root|work|Users)/\w")
    found = []
    for path in tracked():
        if path.suffix in TEXT and path != Path(__file__):
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
                if pattern.search(line):
                    found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:80]}")
    assert not found, "\n".join(found)


def test_tracked_files_stay_small():
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "large_files.py")], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
