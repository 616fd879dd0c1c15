"""How the Coefficients system is trained: by its own pictures, or with 3D labels besides.

    coefficients              photos and 68 landmarks of a detector; no 3D label is ever read
    coefficients, supervised  the same, plus the distance to the true position map
    coefficients, photos      photographs in an album (option `album` of the profile), `coefficients.albums`

The first two share network, people, augmentation, budget and every other term: what labels add is all that
differs.
"""

from dataclasses import asdict, replace

from facet.augment import Augmentation
from facet.coefficients.albums import Album, AlbumBatches
from facet.coefficients.batches import MAP, NOISE, CoefficientBatches, CoefficientValidation, FromMaps
from facet.coefficients.losses import CoefficientLoss, MapPoints, Weights
from facet.coefficients.person import GAMMA, SIGMA, Person
from facet.face_model import compact, load, sampler
from facet.face_model import files as face_files
from facet.files import sha256
from facet.networks.layout import Layout
from facet.profiles import Profile
from facet.synthetic.batches import VALIDATION
from facet.synthetic.stream import Stream
from facet.training.obtain import Recipe, Task
from facet.training.settings import Settings

SYSTEM = "coefficients"
VARIANTS = ("", "supervised")
PHOTOS = "photos"
HELD_OUT = 10  # every so many photographs of an album, one is for validation
LABELS = 10.0  # weight of the term `vertices` where labels are used
GENERATION = 2  # of the synthetic people, where the profile does not say `coefficients_generation`
DROPOUT = 0.1


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
            **(_album(profile) if variant == PHOTOS else _synthetic(profile)),
            "face_model": face_files.VERSION,
            "augmentation": asdict(_augmentation(profile)),
            "loss": {
                **asdict(weights(variant)), "squared": False, "over": "face", "attention": True,
                "sigma": SIGMA, "gamma": GAMMA,
            },
            "photo_size": _photo_size(profile), "vertices": compact.VERTICES,
        },
        note="" if variant == PHOTOS else note,
    )  # fmt: skip


def _synthetic(profile: Profile) -> dict[str, object]:
    return {
        "people": profile.people["train"],
        "validation_people": profile.people["val"],
        "rendered": profile.rendered,
        "generation": _generation(profile),
        "shown": "front",
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


def weights(variant: str) -> Weights:
    """Of the loss's terms."""
    return replace(Weights(), vertices=LABELS if variant == "supervised" else 0.0)


def task(made: Recipe, profile: Profile, pictures) -> Task:
    """The data and the loss of a recipe.

    Args:
        pictures: split → opened data set of synthetic people.
    """
    model = load()
    person, labels = Person.open(model), made.variant == "supervised"
    loss = loss_of(made, person, MapPoints.open(sampler(model, MAP), model.uv_weight(MAP)))
    settings, size = made.settings, made.data["photo_size"]
    if made.variant == PHOTOS:
        return _album_task(Album.load(profile.options["album"]), profile, settings, size, loss)
    about = {"size": size, "labels": labels}
    if profile.rendered == "streamed":
        stream = Stream.open(
            "front", settings.batch, profile.image_size, _augmentation(profile),
            generation=_generation(profile), seed=settings.seed, device=settings.device,
        )  # fmt: skip
        batches = FromMaps(stream, model.uv[model.landmarks], seed=settings.seed, **about)
    else:
        batches = _batches(
            pictures("train"), model, _augmentation(profile), settings.batch, settings.seed, **about
        )
    held_out = _batches(pictures("validation"), model, VALIDATION, settings.batch, 1, **about)
    return Task(batches, CoefficientValidation(held_out, loss), loss)


def _album_task(album: Album, profile: Profile, settings: Settings, size: int, loss) -> Task:
    held_out = album.rows(slice(None, None, HELD_OUT))
    kept = [k for k in range(len(album)) if k % HELD_OUT] or [0]
    train = Album(album.images[kept], album.landmarks[kept], tuple(album.names[k] for k in kept), album.size)
    batches = AlbumBatches(train, settings.batch, _augmentation(profile), settings.seed, size)
    validation = AlbumBatches(held_out, settings.batch, VALIDATION, 1, size)
    return Task(batches, CoefficientValidation(validation, loss), loss)


def loss_of(made: Recipe, person: Person, labels: MapPoints | None = None) -> CoefficientLoss:
    """The loss that a recipe names."""
    options = {name: made.options[name] for name in ("identity", "expression", "texture")}
    terms = {k: v for k, v in made.data["loss"].items() if k in Weights.__dataclass_fields__}
    rest = {k: v for k, v in made.data["loss"].items() if k not in terms}
    return CoefficientLoss(
        person, Layout(**options), made.image_size, Weights(**terms), labels=labels, **rest
    )


def _batches(pictures, model, augmentation, batch: int, seed: int, **about) -> CoefficientBatches:
    face = LandmarkPlaces.open(model)
    maps = sampler(model, MAP, modes=model.detail_modes) if about["labels"] else None
    return CoefficientBatches(pictures, maps, "front", batch, augmentation, seed, place=face, **about)


class LandmarkPlaces:
    """The 68 landmarks of people in millimetres, with every mode of the face model."""

    def __init__(self, mean, identity, expression):
        self.mean, self.identity, self.expression = mean, identity, expression

    @classmethod
    def open(cls, model) -> "LandmarkPlaces":
        import torch

        shapes = torch.cat((model.coarse_mean[None], model.identity, model.expression))
        fine = [model._limit(model.face_matrix, some)[:, model.landmarks] for some in shapes.split(16)]
        mean, identity, expression = torch.cat(fine).split((1, len(model.identity), len(model.expression)))
        return cls(mean[0], identity, expression)

    def __call__(self, alpha_id, alpha_exp):
        """(B, 68, 3) of coefficients (B, K) and (B, 52)."""
        return compact.blended(self.mean, (alpha_id, self.identity), (alpha_exp, self.expression))


def _backbone(profile: Profile) -> str:
    return str(profile.options.get("coefficients_backbone", "resnet50"))


def _generation(profile: Profile) -> int:
    return int(profile.options.get("coefficients_generation", GENERATION))


def _photo_size(profile: Profile) -> int:
    """Side of the picture that is compared with the photo."""
    return int(profile.options.get("coefficients_photo_size", profile.image_size))


def _augmentation(profile: Profile) -> Augmentation:
    return Augmentation.preset(str(profile.options["augmentation"]))
