"""Where things live: one root, a few folders under it.

The root is `FACET_HOME` if that is set, else the checkout this package runs from, else (the package was
installed without its checkout) a folder of the user's. Nothing is created here: whoever writes makes the
folder.
"""

import os
from pathlib import Path


def find_root() -> Path:
    """The folder that holds `data/` and `reports/`."""
    if home := os.environ.get("FACET_HOME"):
        return Path(home).expanduser().resolve()
    checkout = Path(__file__).resolve().parents[2]
    if (checkout / "pyproject.toml").is_file():
        return checkout
    return Path.home() / ".local" / "share" / "facet"


ROOT = find_root()
DATA = ROOT / "data"
CACHE = DATA / "cache"
RAW = DATA / "raw"
WEIGHTS = DATA / "weights"
NOTEBOOKS = ROOT / "notebooks"
PROFILES = NOTEBOOKS / "profiles"
REPORTS = ROOT / "reports"
RUNS = CACHE / "runs"
