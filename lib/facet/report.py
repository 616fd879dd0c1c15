"""What a notebook leaves behind: figures, tables, records, and where they came from.

    run = facet.report.start("11_twoview", profile=profile, seed=seed)
    run.figure(plot_ced(errors), "ced", caption="Share of faces under an error")
    run.table(summary, "nme", caption="...")

writes `reports/<profile>/figures/ced.png`, `tables/nme.csv` and `.md`, and keeps `provenance.json`. Figures
and tables carry nothing that changes from run to run (no date, no version, no duration): those stand in
`provenance.json` alone.
"""

import io
import os
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from facet import profiles, provenance
from facet.files import sha256, write_beside, write_text
from facet.paths import REPORTS
from facet.profiles import Profile

COLUMNS = (
    "model variant test_set metric normaliser yaw pitch profile seed device samples mean median std p90 n "
    "ms images_per_second threads source"
).split()
PHOTO_QUALITY = 82
SHOWN, SHOWN_QUALITY = 800, 75  # widest JPEG inside a notebook, pixels
# Colours of a chart, and by how many levels of 255 a mean pixel may move for it (charts: 0.8, maps: over 4).
PALETTE, UNSEEN = 256, 1.0
LONG = 500  # rows of a table


def resolve(name: str, value):
    """A parameter's value by precedence: injected into the notebook > environment (FACET_NAME) > literal.

    Args:
        name: profile, seed, device or train.
        value: what the notebook's variable holds: its literal or what papermill injected over it.
    """
    given = os.environ.get(f"FACET_{name.upper()}")
    if not given or name in _injected():
        return value
    if name != "seed":
        return given
    if not given.isdecimal():
        raise ValueError(f"FACET_SEED is {given!r} in the environment: set it to a whole number, or unset it")
    return int(given)


def _injected() -> set[str]:
    """Names that papermill's injected cell assigned, read from the running kernel's history."""
    if "IPython" not in sys.modules:
        return set()
    from IPython import get_ipython

    shell = get_ipython()
    cells = shell.user_ns.get("In", []) if shell else []
    lines = [line for cell in cells if cell.startswith("# Parameters") for line in cell.splitlines()]
    return {line.split("=")[0].strip() for line in lines if "=" in line}


def start(
    notebook: str,
    *,
    profile: str | Profile | None = None,
    seed: int | None = None,
    device: str = "auto",
    train: str = "auto",
    variant: str = "",
    **parameters,
) -> "Run":
    """Begin a notebook's run: settle its parameters, fix the threads, open its place in the report.

    Args:
        notebook: file name without suffix, such as "11_twoview".
        profile: name or Profile; the environment's FACET_PROFILE overrides a literal.
        seed: the profile's own when None; another seed's results get "-seed<n>" behind their names.
        device: "auto" takes CUDA where there is one.
        train: auto, always or never; handed through.
        variant: goes behind the results' names, for runs of one notebook with other parameters.
        parameters: anything else worth recording.

    Raises:
        FileNotFoundError: no such profile.
        ValueError: train is none of the three words; the seed is no whole number; this machine has no such
            device.
    """
    profile = resolve("profile", profile)
    if not isinstance(profile, Profile):
        profile = profiles.load(profile)
    seed = resolve("seed", profile.seed if seed is None else seed)
    train = resolve("train", train)
    if train not in ("auto", "always", "never"):
        raise ValueError(f"train is auto, always or never, not {train!r}")
    device = settle_device(resolve("device", device))
    set_threads(profile.threads)
    return Run(notebook, profile, seed, device, train, variant, parameters)


def settle_device(device: str) -> str:
    """ "auto" becomes "cuda" where CUDA is available, else "cpu"; other names are kept.

    Raises:
        ValueError: this machine has no such device.
    """
    from facet.devices import device_of

    return str(device_of(None if device == "auto" else device))


def set_threads(threads: int) -> None:
    """Fix torch's threads (sums depend on them); FACET_THREADS overrides, for test workers."""
    import torch

    torch.set_num_threads(int(os.environ.get("FACET_THREADS") or threads))


class Run:
    """One notebook's run in one profile; made by `start`.

    Attributes:
        profile: Profile in force; `seed`, `device`, `train` as settled.
        folder: where results are written: `reports/<profile>`, or a stage beside it while `facet report`
            runs the notebook, moved into place when the last cell has passed.
    """

    def __init__(self, notebook, profile, seed, device, train, variant, parameters):
        self.notebook = notebook
        self.profile, self.seed, self.device, self.train = profile, seed, device, train
        self.variant = variant
        self.home = REPORTS / profile.name
        self.folder = Path(os.environ.get("FACET_STAGE") or self.home)
        self._began = time.monotonic()
        self._entry = {
            "commit": provenance.commit(),
            "parameters": {"seed": seed, "device": device, "train": train, "variant": variant, **parameters},
            "profile": profile.to_dict(),
            "versions": provenance.versions(),
            "machine": provenance.machine(device),
            "inputs": {},
            "artefacts": {},
        }

    def figure(
        self,
        figure,
        name: str,
        *,
        caption: str = "",
        dpi: int = 110,
        colours: int | None = None,
        photo: bool = False,
    ) -> None:
        """Save a figure and show it in the notebook.

        The file's bytes are a function of the pixels alone.

        Args:
            figure: matplotlib Figure, or an image: (H, W, 3) or (H, W) array or tensor, floats in [0, 1] or
                uint8.
            name: file name without suffix, unique in the report.
            caption: one sentence for the report's page.
            dpi: of a matplotlib figure.
            colours: of a palette, which makes a file smaller by half; 0 keeps all. None takes 256 for what
                hardly changes by it: charts, but not pictures of many colours.
            photo: a JPEG, for what is made of photographs; the notebook shows one at most SHOWN pixels wide.
        """
        path = self._path("figures", name, ".jpg" if photo else ".png")
        image = as_image(figure, dpi)
        data = jpeg_bytes(image, PHOTO_QUALITY) if photo else png_bytes(image, colours)
        with write_beside(path) as temporary:
            temporary.write_bytes(data)
        self._keep(path, "figure", caption)
        _show(jpeg_bytes(image, SHOWN_QUALITY, widest=SHOWN) if photo else data)

    def table(self, frame, name: str, *, caption: str = "", digits: int = 4, conditions: str = ""):
        """Save a pandas frame as `tables/<name>.csv` (six digits) and `.md` (`digits` digits).

        Nobody reads more than LONG rows: such a table is a .csv alone. The .md ends in the caption, the
        profile, the seed and the device, or in `conditions` where what it shows was made under others (the
        records of studies). A frame with a column `metric` is a summary: profile, seed, device
        and source are filled in where absent, and the report's common columns come first, in their order.

        Returns:
            The frame as saved, so that it can end a cell.
        """
        frame = _summary(frame, self) if "metric" in frame.columns else frame
        path = self._path("tables", name, ".csv")
        write_text(path, csv_text(frame))
        conditions = conditions or f"profile `{self.profile.name}`, seed {self.seed}, {self.device}"
        told = f"\n{caption} ({conditions})\n" if caption else f"\n({conditions})\n"
        path.with_suffix(".md").unlink(missing_ok=True)
        if len(frame) <= LONG:
            write_text(path.with_suffix(".md"), markdown_text(frame, digits) + told)
        self._keep(path, "table", caption)
        return frame

    def viewer(self, plot, name: str, *, caption: str = "") -> None:
        """Save a k3d plot (or a page as text) as `viewers/<name>.html`; the report shows it in a frame."""
        path = self._path("viewers", name, ".html")
        if isinstance(plot, str):
            write_text(path, plot)
        else:
            from facet.viewers import write_snapshot

            write_snapshot(plot, path)
        self._keep(path, "viewer", caption)

    def reads(self, *paths: str | os.PathLike) -> None:
        """Note input files (weights, photographs, data sets) with their checksums in the provenance."""
        for path in map(Path, paths):
            self._entry["inputs"][provenance.short(path)] = sha256(path)
        self._save()

    def note(self, **facts) -> None:
        """Add facts to the provenance: training time, number of faces left out, anything that may vary."""
        self._entry.setdefault("notes", {}).update(facts)
        self._save()

    def _path(self, kind: str, name: str, suffix: str) -> Path:
        if Path(name).name != name or Path(name).suffix in (".png", ".jpg", ".csv", ".md", ".html"):
            raise ValueError(f"{name!r}: give a bare name, without folder or suffix")
        ends = ([self.variant] if self.variant else []) + (
            [f"seed{self.seed}"] if self.seed != self.profile.seed else []
        )
        return self.folder / kind / ("-".join([name, *ends]) + suffix)

    def _keep(self, path: Path, kind: str, caption: str) -> None:
        name = path.relative_to(self.folder).as_posix()
        artefacts = self._entry["artefacts"]
        artefacts.pop(name, None)
        place = 1 + max((a["place"] for a in artefacts.values()), default=0)  # the page tells in this order
        artefacts[name] = {"kind": kind, "caption": caption, "place": place, "sha256": sha256(path)}
        self._save()

    def _save(self) -> None:
        self._entry["seconds"] = round(time.monotonic() - self._began, 1)
        key = self.notebook + (f"-{self.variant}" if self.variant else "")
        key += f"-seed{self.seed}" if self.seed != self.profile.seed else ""
        provenance.merge(self.folder / "provenance.json", key, self._entry, known=self.home)


def png_bytes(image, colours: int | None = None) -> bytes:
    """PNG of a PIL image, without date or software; `colours` as in `Run.figure`."""
    from PIL import Image

    if colours is None or colours:
        fewer = image.quantize(colours or PALETTE, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
        if colours or _apart(image, fewer.convert(image.mode)) <= UNSEEN:
            image = fewer
    out = io.BytesIO()
    image.save(out, format="PNG", optimize=True)
    return out.getvalue()


def _apart(image, other) -> float:
    """Mean difference of two PIL images, levels of 255 in the channel that differs most."""
    difference = np.asarray(image, dtype=np.int16) - np.asarray(other, dtype=np.int16)
    return float(np.abs(difference).reshape(image.height, image.width, -1).max(axis=2).mean())


def jpeg_bytes(image, quality: int, widest: int = 0) -> bytes:
    """JPEG of a PIL image, made smaller if it is wider than `widest` pixels (0: as it is)."""
    if widest and image.width > widest:
        image = image.resize((widest, round(image.height * widest / image.width)))
    out = io.BytesIO()
    image.convert("RGB").save(out, format="JPEG", quality=quality, optimize=True)
    return out.getvalue()


def as_image(figure, dpi: int = 110):
    """PIL image of a matplotlib Figure or of an image array."""
    from PIL import Image

    if not hasattr(figure, "savefig"):
        return Image.fromarray(_uint8(figure))
    import matplotlib.pyplot as plt

    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, bbox_inches="tight", metadata={"Software": None})
    plt.close(figure)
    return Image.open(buffer).convert("RGB")


def _uint8(image) -> np.ndarray:
    values = np.asarray(image.detach().cpu() if hasattr(image, "detach") else image)
    if values.ndim not in (2, 3) or (values.ndim == 3 and values.shape[2] not in (3, 4)):
        raise ValueError(f"an image is (H, W) or (H, W, 3), not {values.shape}")
    if values.dtype != np.uint8:
        values = (values.clip(0, 1) * 255).round().astype(np.uint8)
    return np.ascontiguousarray(values)


def csv_text(frame) -> str:
    """A frame as CSV: no index (named ones become columns), floats to six significant digits."""
    return _flat(frame).to_csv(index=False, float_format="%.6g", lineterminator="\n")


def markdown_text(frame, digits: int = 4) -> str:
    """A frame as a Markdown table; missing values are empty, columns that hold one empty value go."""
    frame = _flat(frame)
    frame = frame.loc[:, [c for c in frame if not (frame[c].isna() | (frame[c] == "")).all()]]
    right = [frame[c].dtype.kind in "iufb" for c in frame]
    for column in frame.select_dtypes("float"):
        frame[column] = [_digits(value, digits) for value in frame[column]]
    sides = ["right" if numbers else "left" for numbers in right]
    text = frame.to_markdown(index=False, missingval="", disable_numparse=True, colalign=sides)
    return text + "\n"


def _digits(value: float, digits: int) -> str:
    """So many significant digits, but all those before the point; exponents for the tiny and the huge."""
    if value != value:
        return ""
    text = f"{value:.{digits}g}"
    return f"{value:.0f}" if "e+" in text and abs(value) < 1e9 else text


def _flat(frame):
    return frame if frame.index.names == [None] and frame.index.dtype.kind in "iu" else frame.reset_index()


def _summary(frame, run: Run):
    frame = _flat(frame).copy()
    own = {"profile": run.profile.name, "seed": run.seed, "device": run.device, "source": "facet"}
    for column, value in own.items():
        if column not in frame:
            frame[column] = value
    first = [c for c in COLUMNS if c in frame]
    return frame[first + [c for c in frame if c not in COLUMNS]]


def _show(data: bytes) -> None:
    """Display a picture where a notebook is running."""
    if "IPython" in sys.modules:
        from IPython import get_ipython
        from IPython.display import Image, display

        if get_ipython() is not None and "ipykernel" in sys.modules:
            display(Image(data=data, format="png" if data[:4] == b"\x89PNG" else "jpeg"))


def publish(stage: Path, profile: str, key: str, facts: Mapping[str, object]) -> list[str]:
    """Move a finished run's staged results into `reports/<profile>` and merge its provenance.

    Args:
        stage: folder that the notebook wrote to.
        profile: name of the profile, and of the folder under `reports/`.
        key: the run's entry in provenance.json.
        facts: added to the entry (total duration).

    Returns:
        Names of the results, relative to the report's folder. Results of an earlier run of the same notebook
        that this one no longer makes are removed.
    """
    home = REPORTS / profile
    staged = provenance.read(stage / "provenance.json")
    entry = {**staged.get(key, {"artefacts": {}}), **facts}
    before = provenance.read(home / "provenance.json").get(key, {}).get("artefacts", {})
    made = sorted(p for p in stage.rglob("*") if p.is_file() and "provenance" not in p.name)
    for path in made:
        target = home / path.relative_to(stage)
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(path, target)
    for name in set(before) - set(entry["artefacts"]):
        (home / name).unlink(missing_ok=True)
        (home / name).with_suffix(".md").unlink(missing_ok=True)
    provenance.merge(home / "provenance.json", key, entry, known=home)
    shutil.rmtree(stage, ignore_errors=True)
    return [p.relative_to(stage).as_posix() for p in made]
