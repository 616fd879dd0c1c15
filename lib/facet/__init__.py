"""facet: a 3D face from one or two photographs.

`facet.reconstruct(photo)` is the main entry, `facet.rotate(photo, 60)` shows the person from another side.
Everything is loaded on first use, so that `import facet` is quick and a machine that only trains needs no
plotting or viewing package.
"""

from importlib import import_module

__version__ = "0.1.0"

_FROM = {
    "facet.reconstruction": ("FaceNotFoundError", "Reconstruction", "reconstruct"),
    "facet.rotation.photograph": ("rotate",),
}
HOMES = {name: module for module, names in _FROM.items() for name in names}
_MODULES = (
    "augment",
    "crop",
    "evaluation",
    "execute",
    "face_model",
    "figures",
    "files",
    "geometry",
    "images",
    "networks",
    "paths",
    "profiles",
    "reconstruction",
    "rendering",
    "report",
    "synthetic",
    "training",
    "viewers",
)

__all__ = ["FaceNotFoundError", "Reconstruction", "__version__", "reconstruct", "rotate"]


def __getattr__(name: str):
    if name in HOMES:
        return getattr(import_module(HOMES[name]), name)
    if name in _MODULES:
        return import_module(f"facet.{name}")
    raise AttributeError(f"module 'facet' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *HOMES, *_MODULES])
