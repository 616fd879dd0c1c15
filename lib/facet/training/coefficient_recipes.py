"""How the Coefficients system is trained: by its own pictures, or with 3D labels besides.

    coefficients              photos and 68 landmarks of a detector; no 3D label is ever read
    coefficients, supervised  the same, plus the distance to the true position map
    coefficients, wide        as supervised, on photos from all sides: the same people at every yaw
    coefficients, photos      photographs in an album (option `album` of the profile), `coefficients.albums`

The first two share network, photos, augmentation, budget and every other term: what labels add is all that
differs. What the third adds to the second are poses: front photos within 14° teach nothing of a face that is
turned by 30°, as in most albums many are.

A full ResNet (width 1) begins from ImageNet's weights where torchvision's file of its backbone lies in
`data/raw`, such as `resnet50-0676ba61.pth`; which file that was stands in the configuration.
"""

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

from torch import nn

from facet import paths
from facet.augment import Augmentation
from facet.coefficients.albums import Album, AlbumBatches
from facet.coefficients.batches import MAP, NOISE, CoefficientTruth, CoefficientValidation
from facet.coefficients.losses import CoefficientLoss, MapPoints, Weights
from facet.coefficients.renderer import GAMMA, SIGMA, FaceRenderer
from facet.face_model import compact, load, sampler
from facet.face_model import files as face_files
from facet.files import sha256
from facet.networks.coefficients import load_imagenet
from facet.networks.layout import Layout
from facet.profiles import Profile
from facet.synthetic.batches import VALIDATION, Batches
from facet.synthetic.stream import Stream
from facet.training.common import from_all_sides
from facet.training.history import History
from facet.training.loop import fit
from facet.training.obtain import Recipe, Task
from facet.training.settings import Settings

SYSTEM = "coefficients"
VARIANTS = ("", "supervised", "wide")
LABELLED = ("supervised", "wide")
PHOTOS = "photos"
HELD_OUT = 10  # every so many photographs of an album, one is for validation
LABELS = 10.0  # weight of the term `vertices` where labels are used
GENERATION = 2  # of the synthetic people, where the profile does not say `coefficients_generation`
DROPOUT = 0.1
PIXELS = "centres"  # how the explained photo lies on its crop, see `FaceRenderer.picture`


def recipe(
    profile: Profile, *, variant: str = "", seed: int | None = None, device: str = "auto", note: str = ""
) -> Recipe:
    """The training of a variant in a profile.

    Raises:
        ValueError: there is no such variant.
    """
    if variant not in (*VARIANTS, PHOTOS):
        known = ", ".join("-".join(filter(None, (SYSTEM, name))) for name in (*VARIANTS, PHOTOS))
        raise ValueError(f"nothing is known of training {SYSTEM}-{variant}; known: {known}")
    changes = {} if seed is None else {"seed": seed}
    changes["learning_rate"] = float(profile.options.get("coefficients_rate", profile.learning_rate))
    settings = Settings.from_profile(
        profile, device=device, warmup=min(100, profile.steps // 10), schedule="cosine", patience=0, **changes
    )
    options = {**compact.counts(load()), "backbone": _backbone(profile), "dropout": DROPOUT}
    return Recipe(
        system=SYSTEM,
        variant=variant,
        profile=profile.name,
        image_size=profile.image_size,
        width=profile.width,
        options=options,
        settings=settings,
        data={
            **(_album(profile) if variant == PHOTOS else _synthetic(profile, variant)),
            "face_model": face_files.VERSION,
            "augmentation": asdict(_augmentation(profile)),
            "loss": {
                **asdict(weights(variant)), "squared": False, "over": "face", "attention": True,
                "sigma": SIGMA, "gamma": GAMMA,
            },
            "photo_size": _photo_size(profile), "pixels": PIXELS, "vertices": compact.VERTICES,
            **({"imagenet": sha256(start)} if (start := imagenet(profile)) else {}),
        },
        note="" if variant == PHOTOS else note,
    )  # fmt: skip


def _synthetic(profile: Profile, variant: str) -> dict[str, object]:
    shown = {"people": profile.people["train"], "shown": "front"}
    return {
        **(from_all_sides(profile) if variant == "wide" else shown),
        "validation_people": profile.people["val"],
        "rendered": profile.rendered,
        "generation": _generation(profile),
        "landmark_noise": NOISE,
    }


def _album(profile: Profile) -> dict[str, object]:
    path = profile.options.get("album")
    if not path:
        raise ValueError(
            f"{SYSTEM}-{PHOTOS} is trained on an album: make one by `facet data album`, give --album"
        )
    album = Album.load(path)
    if album.size != profile.image_size:
        raise ValueError(
            f"the album {path} has crops of {album.size} pixels, not {profile.image_size}: make it anew"
        )
    return {"album": sha256(path), "photographs": len(album)}


def imagenet(profile: Profile) -> Path | None:
    """torchvision's weights of the profile's backbone: the first such file in `data/raw`, or none.

    They are of width 1: a narrower network has none.
    """
    found = sorted(paths.RAW.glob(f"{_backbone(profile)}-*.pth")) if profile.width == 1 else []
    return found[0] if found else None


def weights(variant: str) -> Weights:
    """Of the loss's terms."""
    return replace(Weights(), vertices=LABELS if variant in LABELLED else 0.0)


def task(made: Recipe, profile: Profile, pictures) -> Task:
    """The data and the loss of a recipe.

    Args:
        pictures: split → opened data set of synthetic people.
    """
    model = load()
    renderer, labels = FaceRenderer.open(model), made.variant in LABELLED
    loss = loss_of(made, renderer, MapPoints.open(sampler(model, MAP), model.uv_weight(MAP)))
    settings, size = made.settings, made.data["photo_size"]
    begun = _begun_from(imagenet(profile)) if "imagenet" in made.data else fit
    if made.variant == PHOTOS:
        return _album_task(Album.load(profile.options["album"]), profile, settings, size, loss, begun)

    def truth(there):
        return CoefficientTruth.open(there, made.image_size, size, labels=labels)

    exact, shown, kind = truth(model), _augmentation(profile), made.data["shown"]
    if profile.rendered == "streamed":
        batches = Stream.open(
            kind, settings.batch, profile.image_size, shown, generation=_generation(profile),
            seed=settings.seed, device=settings.device, truth=truth, poses=made.data.get("poses", "two-view"),
        )  # fmt: skip
    else:
        batches = Batches(pictures("train"), None, kind, settings.batch, shown, settings.seed, truth=exact)
    held_out = Batches(pictures("validation"), None, kind, settings.batch, VALIDATION, 1, truth=exact)
    return Task(batches, CoefficientValidation(held_out, loss), loss, begun)


def _begun_from(path: Path) -> Callable[..., History]:
    """`fit` from ImageNet's weights; where there is a checkpoint, that goes on."""

    def begun(network: nn.Module, *told, **options) -> History:
        load_imagenet(network, path)
        return fit(network, *told, **options)

    return begun


def _album_task(album: Album, profile: Profile, settings: Settings, size: int, loss, begun) -> Task:
    held_out = album.rows(slice(None, None, HELD_OUT))
    kept = [k for k in range(len(album)) if k % HELD_OUT] or [0]
    train = Album(album.images[kept], album.landmarks[kept], tuple(album.names[k] for k in kept), album.size)
    batches = AlbumBatches(
        train, None, "front", settings.batch, _augmentation(profile), settings.seed, photo_size=size
    )
    validation = AlbumBatches(held_out, None, "front", settings.batch, VALIDATION, 1, photo_size=size)
    return Task(batches, CoefficientValidation(validation, loss), loss, begun)


def loss_of(made: Recipe, renderer: FaceRenderer, labels: MapPoints | None = None) -> CoefficientLoss:
    """The loss that a recipe names."""
    options = {name: made.options[name] for name in ("identity", "expression", "texture")}
    terms = {k: v for k, v in made.data["loss"].items() if k in Weights.__dataclass_fields__}
    rest = {k: v for k, v in made.data["loss"].items() if k not in terms}
    return CoefficientLoss(
        renderer, Layout(**options), made.image_size, Weights(**terms), labels=labels, **rest
    )


def _backbone(profile: Profile) -> str:
    return str(profile.options.get("coefficients_backbone", "resnet50"))


def _generation(profile: Profile) -> int:
    return int(profile.options.get("coefficients_generation", GENERATION))


def _photo_size(profile: Profile) -> int:
    """Side of the picture that is compared with the photo."""
    return int(profile.options.get("coefficients_photo_size", profile.image_size))


def _augmentation(profile: Profile) -> Augmentation:
    return Augmentation.preset(str(profile.options["augmentation"]))
