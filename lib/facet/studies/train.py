"""A cell's training: a position-map network on synthetic people, described by plain values alone.

A configuration has the entries

    system, width, image_size, options    of `build`
    settings                              of `Settings`, without the device
    data                                  generation, poses, change, people, what is shown, beards in targets
    augmentation                          fields of `Augmentation`
    loss                                  of `position_losses`
    test                                  people and jitter, and what else describes the test
"""

from collections.abc import Mapping

from torch import nn

from facet.augment import Augmentation, from_values
from facet.face_model import FaceModel, load, sampler
from facet.networks import build
from facet.studies.queue import OutOfTime, Session
from facet.synthetic.batches import VALIDATION, Batches, Validation
from facet.synthetic.beards import Beards
from facet.synthetic.dataset import Description, Pictures, open_pictures
from facet.training import History, Settings, fit
from facet.training.geometry_losses import position_losses
from facet.training.starts import take_over


def train(
    configuration: Mapping, session: Session, start: nn.Module | None = None
) -> tuple[nn.Module, History]:
    """A trained network in eval mode on the CPU, and its history; `start` gives it its first weights.

    Raises:
        OutOfTime: the session's time was not enough; the next call with its folder goes on.
    """
    size, data = configuration["image_size"], configuration["data"]
    settings = Settings(**configuration["settings"], device=session.device)
    model = load()
    signed = configuration["options"].get("squash") == "tanh"
    loss, judged = position_losses(configuration["loss"], model, size, signed=signed)
    beards = Beards.open(model) if data["beards"] else None
    augmentation = from_values(configuration["augmentation"])
    batches = _batches("train", configuration, session, model, beards, augmentation)
    validation = _batches("validation", configuration, session, model, beards, VALIDATION)
    network = build(
        configuration["system"], image_size=size, width=configuration["width"], seed=settings.seed,
        **configuration["options"],
    )  # fmt: skip
    if start is not None:
        take_over(network, start)
    session.tell(f"{configuration['system']} on {data['people']:,} people, {settings.steps:,} steps")
    history = fit(
        network, batches, Validation(validation, judged), settings, loss=loss, folder=session.folder,
        minutes=session.minutes, progress="auto" if session.say else "none",
    )  # fmt: skip
    if not history.finished:
        raise OutOfTime
    return network.cpu(), history


def held_out(configuration: Mapping, session: Session, *, change: str) -> Pictures:
    """The test people of a configuration, with a change of their own ("" for none).

    Raises:
        OutOfTime: see `rendered`.
    """
    test, data = configuration["test"], {**configuration["data"], "change": change}
    asked = _people(data, "test", configuration["image_size"], test["people"], jitter=test["jitter"])
    return rendered(asked, session)


def rendered(description: Description, session: Session) -> Pictures:
    """An opened data set, its missing shards rendered first.

    Raises:
        OutOfTime: the session's time was not enough; shards that are there stay.
    """
    progress = session.shards(f"{description.split} people")
    return open_pictures(description, workers=session.workers, progress=progress)


def _people(data: Mapping, split: str, image_size: int, count: int, **options) -> Description:
    return Description(
        split, data["poses"], count, image_size,
        generation=data["generation"], change=data["change"], **options,
    )  # fmt: skip


def _batches(
    split: str,
    configuration: Mapping,
    session: Session,
    model: FaceModel,
    beards: Beards | None,
    augmentation: Augmentation,
) -> Batches:
    size, data, settings = (configuration[name] for name in ("image_size", "data", "settings"))
    count = data["people" if split == "train" else "validation_people"]
    pictures = rendered(_people(data, split, size, count), session)
    # held-out people have more modes than the model's own: their truth is sampled with all of them
    maps = sampler(model, size, modes=None if split == "train" else model.detail_modes)
    seed = settings["seed"] if split == "train" else 1
    return Batches(pictures, maps, data["shown"], settings["batch"], augmentation, seed, beards)
