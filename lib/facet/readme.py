"""The parts of README.md that are made: the tables of notebooks, results and profiles.

They stand between the comments `<!-- name: begin -->` and `<!-- name: end -->`; everything else is written by
hand. `python -m facet.execute readme` makes them anew.
"""

import re
from pathlib import Path

from facet import jobs, profiles, provenance
from facet.files import write_text
from facet.paths import NOTEBOOKS, REPORTS, ROOT

README = ROOT / "README.md"
# The notebook that a system's row links, by its number; a variant that another one shows has its own.
SHOWN_IN = {
    "prn": "10",
    "prn wide": "15",
    "mobile": "11",
    "twoview": "11",
    "rotation": "15",
    "one-pass": "15",
    "residual": "12",
    "coefficients": "14",
}
SOURCE = "30_evaluation"


def write(profile: str = profiles.DEFAULT, path: Path = README) -> Path:
    """Make the generated parts anew; the results only where notebook 30 has run in the profile.

    Raises:
        ValueError: the README lacks a pair of comments.
    """
    text = path.read_text(encoding="utf-8")
    parts = {"notebooks": notebooks(profile), "profiles": sizes()}
    if _intervals(profile).is_file():
        parts["results"] = results(profile)
    for name, made in parts.items():
        text = replace(text, name, made)
    write_text(path, text)
    return path


def replace(text: str, name: str, block: str) -> str:
    """The text with another block between a pair of comments."""
    found = _pattern(name).search(text)
    if not found:
        raise ValueError(f"README.md has no pair of comments <!-- {name}: begin --> and <!-- {name}: end -->")
    return text[: found.start(1)] + f"\n{block.strip()}\n" + text[found.end(1) :]


def block(text: str, name: str) -> str:
    """What stands between a pair of comments."""
    found = _pattern(name).search(text)
    if not found:
        raise ValueError(f"README.md has no pair of comments <!-- {name}: begin --> and <!-- {name}: end -->")
    return found.group(1).strip()


def _pattern(name: str) -> re.Pattern:
    return re.compile(f"<!-- {name}: begin -->(.*?)<!-- {name}: end -->", re.DOTALL)


def notebooks(profile: str) -> str:
    """The notebooks that are there: number and title, their question, how long one took in the profile."""
    entries = provenance.read(REPORTS / profile / "provenance.json")
    rows = []
    for path in sorted(NOTEBOOKS.glob("[0-9]*.ipynb")):
        heading, text = jobs.title(path)
        entry = entries.get(path.stem, {})
        seconds = entry.get("total_seconds", entry.get("seconds"))
        bold = re.match(r"\*\*(.+?)\*\*", text)
        question = bold.group(1) if bold else re.split(r"(?<=[.?!])\s", text)[0].rstrip(".")
        link = f"[{heading}](notebooks/{path.name})"
        rows.append((link, question, _minutes(seconds)))
    return _table(("notebook", "what it shows", f"time (`{profile}`)"), rows)


def sizes() -> str:
    """What the profiles are for, and their sizes."""
    purpose = {
        "smoke": "tests, minutes on two cores; its numbers mean nothing",
        "small": "a laptop, with the weights in `data/weights` (default)",
        "full": "one GPU, the papers' layers",
    }
    columns = ("profile", "for", "photos and maps", "width", "training samples a network")
    rows = [
        (f"`{p.name}`", purpose.get(p.name, ""), f"{p.image_size} px", f"{p.width:g}", f"{p.samples:,}")
        for p in map(profiles.load, profiles.names())
    ]
    return _table(columns, rows)


def _minutes(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def results(profile: str) -> str:
    """The evaluation at a glance: one table a test set, with what a number needs to be understood.

    Raises:
        FileNotFoundError: notebook 30 has not run in this profile.
    """
    import pandas as pd

    path = _intervals(profile)
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: make report PROFILE={profile} ONLY=30")
    intervals = pd.read_csv(path, keep_default_na=False)
    intervals = intervals[~intervals["variant"].str.contains("smoothed")]  # between the bare and the prior's
    parts = [_conditions(profile) + _longer(intervals)]
    for test_set, rows in intervals.groupby("test_set", sort=False):
        people = rows["identities"].max()
        parts.append(f"**`{test_set}`**, {people} people:")
        parts.append(_glance(rows))
    link = f"[every measure](reports/{profile}/tables/evaluation_pairs.md)"
    ratios = f"[ratios between systems](reports/{profile}/tables/evaluation_ratios.md)"
    turned = f"[the same on turned heads](reports/{profile}/tables/evaluation_florence_ratios.md)"
    papers = f"[what the papers report on their data](reports/{profile}/tables/evaluation_reported.md)"
    parts.append(f"Also: {link}, {ratios}, {turned}, {papers}.")
    return "\n\n".join(parts)


def _intervals(profile: str) -> Path:
    return REPORTS / profile / "tables" / "evaluation_intervals.csv"


def _conditions(profile: str) -> str:
    p = profiles.load(profile)
    entry = provenance.read(REPORTS / profile / "provenance.json").get(SOURCE, {})
    machine = entry.get("machine", {})
    where = (
        machine.get("gpu") or f"{machine.get('processor', 'unknown processor')}, {machine.get('cores')} cores"
    )
    device = entry.get("parameters", {}).get("device", "cpu")
    seed = entry.get("parameters", {}).get("seed", p.seed)
    return (
        f"Profile `{profile}`: {p.image_size} pixels, width {p.width:g}, {p.samples:,} training samples a "
        f"network ({_cached(p)}), seed {seed}; evaluated on {device} ({where}). Means with 95 % "
        "intervals by bootstrap over people, all of them held out; n counts samples. *Shape* is after the "
        "best similarity, *as placed* without any alignment; the normaliser stands in brackets."
    )


def _longer(intervals) -> str:
    """A sentence on the rows that went on from another network."""
    from facet.training.starts import STARTED, WIDE_FIRST

    rows = set(zip(intervals["model"], intervals["variant"], strict=True))
    longer = [pair for pair in STARTED if pair in rows and STARTED[pair].origin[1] != WIDE_FIRST]
    names = [" ".join(filter(None, pair)) for pair in longer]
    if not names:
        return ""
    share = max(STARTED[pair].share for pair in longer)
    return f" {' and '.join(f'`{name}`' for name in names)} went on from `prn` with {100 * share:.0f} % more."


def _cached(profile) -> str:
    """Where the samples come from."""
    if profile.rendered == "streamed":
        return "each rendered anew"
    wide = profile.options.get("wide_people")
    sides = f"; of {wide:,}, each from three sides, for `wide` and `one-pass`" if wide else ""
    return f"the cached pictures of {profile.people['train']:,} people{sides}; repeated and augmented"


def _glance(rows) -> str:
    from facet.evaluation.tables import glance

    table = glance(rows)
    linked = [_linked(label) for label in table["system"]]
    cells = [(link, *values) for link, values in zip(linked, table.iloc[:, 1:].to_numpy(), strict=True)]
    return _table(tuple(table.columns), [tuple("" if c != c else c for c in row) for row in cells])


def _linked(label: str) -> str:
    name, *rest = label.split()
    number = SHOWN_IN.get(" ".join([name, *rest[:1]])) or SHOWN_IN.get(name, "30")
    found = sorted(NOTEBOOKS.glob(f"{number}_*.ipynb"))
    return f"[{label}](notebooks/{found[0].name})" if found else label


def _table(columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [columns, tuple("---" for _ in columns), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
