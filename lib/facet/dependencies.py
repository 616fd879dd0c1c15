"""Which of the package's modules a notebook or a module uses, found by parsing, not by importing.

A notebook has to run again when a file it depends on changes; a test asserts that data flows one way.
Both read the same graph. `import facet.a`, `from facet.a import b` and attribute access (`facet.a.b`) all
count.
"""

import ast
import json
from functools import cache
from pathlib import Path

import facet

PACKAGE = Path(facet.__file__).resolve().parent


def module_file(name: str) -> Path | None:
    """File of a dotted module name (`facet.networks.prn`), None where there is no such module."""
    base = PACKAGE.joinpath(*name.split(".")[1:])
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path
    return None


def all_modules() -> list[str]:
    """Dotted names of every module of the package."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found.append(".".join(("facet", *(parts[:-1] if parts[-1] == "__init__" else parts))))
    return found


def imports(source: str, *, module: str = "", at_import_time: bool = False) -> set[str]:
    """Dotted names that the source imports, of any package.

    Args:
        source: Python text.
        module: dotted name of the module the text is, for relative imports (of a package: its `__init__`).
        at_import_time: leave out what is imported inside functions or under `if TYPE_CHECKING`.
    """
    found: set[str] = set()
    for node in _nodes(ast.parse(source), at_import_time):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node, module)
            found.add(base)
            found.update(f"{base}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Attribute) and not at_import_time:
            found.update(_attribute(node))
    return found


def _nodes(tree: ast.AST, at_import_time: bool):
    for node in ast.iter_child_nodes(tree):
        lazy = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        typing = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        if at_import_time and (lazy or typing):
            continue
        yield node
        yield from _nodes(node, at_import_time)


def _absolute(node: ast.ImportFrom, module: str) -> str:
    if not node.level:
        return node.module or ""
    path = module_file(module)
    parts = module.split(".") if path and path.name == "__init__.py" else module.split(".")[:-1]
    parts = parts[: len(parts) - node.level + 1]
    return ".".join([*parts, node.module] if node.module else parts)


def _attribute(node: ast.Attribute) -> list[str]:
    """`facet.a.b` names facet.a and, where that is a module, facet.a.b; names of `facet.HOMES` their home."""
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not (isinstance(node, ast.Name) and node.id == "facet"):
        return []
    parts = ["facet", *reversed(parts)]
    if parts[1] in facet.__all__:
        return [facet.HOMES[parts[1]]] if parts[1] in facet.HOMES else []
    return [".".join(parts[: n + 1]) for n in range(1, len(parts))]


@cache
def direct(module: str, at_import_time: bool = False) -> frozenset[str]:
    """The package's modules that one module imports, itself left out."""
    path = module_file(module)
    names = imports(path.read_text(encoding="utf-8"), module=module, at_import_time=at_import_time)
    return frozenset(n for n in names if n.startswith("facet.") and module_file(n)) - {module}


def closure(names: set[str]) -> set[str]:
    """Modules reached from `names`, these included; packages bring in their own `__init__`."""
    reached: set[str] = set()
    waiting = {n for n in names if n == "facet" or n.startswith("facet.")}
    while waiting:
        name = waiting.pop()
        if name in reached or not module_file(name):
            continue
        reached.add(name)
        parents = {name.rsplit(".", k)[0] for k in range(1, name.count(".") + 1)}
        waiting |= (direct(name) | parents) - reached
    return reached


def notebook_code(path: Path) -> str:
    """A notebook's code as one Python text; magics and shell lines are left out."""
    cells = json.loads(Path(path).read_text(encoding="utf-8"))["cells"]
    lines = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "code").splitlines()
    return "\n".join("pass" if line.lstrip().startswith(("%", "!")) else line for line in lines)


def of_notebook(path: Path) -> set[str]:
    """The package's modules that a notebook uses, directly or through others."""
    return closure(imports(notebook_code(path)))
