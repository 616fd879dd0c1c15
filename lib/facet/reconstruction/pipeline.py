"""From one photo or two to a face in 3D: find it, crop it, run the network, crop more tightly, run again."""

from contextlib import suppress
from dataclasses import replace
from functools import cache
from numbers import Integral
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from facet.crop import crop_image, invert, lift
from facet.devices import device_of
from facet.geometry import similarity, transform_points
from facet.images import ImageLike
from facet.reconstruction import correction, detect, weights
from facet.reconstruction.complete import complete
from facet.reconstruction.crops import predict_with_flip
from facet.reconstruction.prior import NOISE
from facet.reconstruction.result import Pose, Reconstruction
from facet.reconstruction.unwrap import at_uv, unwrap
from facet.reconstruction.views import View, crop_matrix, moved, views_of

# Degrees of yaw from which a photo is no front photo: PRN learns from 14° at most, others from 67.5° on.
TURNED = 30.0
# What "auto" takes for one photo and for two, the better first; the first knows faces from all sides.
AUTO = {1: ("coefficients-wide", "prn-longer", "prn"), 2: ("coefficients-wide", "twoview")}
REFINE = 40  # steps by which "auto" fits a face model's answer to the photo
# Systems that make their second photo themselves: which fit finds the head (`rotation.fits`).
ROTATIONS = {"rotation": "coefficients", "rotation-prn": "prn"}


def reconstruct(
    front: ImageLike,
    side: ImageLike | None = None,
    *,
    model: str | nn.Module = "auto",
    landmarks: np.ndarray | str | None = None,
    box: tuple[float, float, float, float] | np.ndarray | None = None,
    correct: bool | correction.Aligner = False,
    device: str | torch.device | None = None,
    refine: int | None = None,
    prior: bool | None = None,
) -> Reconstruction:
    """Reconstruct a face from a photo, or from a front and a side photo of one person.

    Args:
        front: path, PIL image or (H, W, 3) uint8 array; the result is in its pixels.
        side: the second photo, for systems that read two.
        model: a system's name (with its variant: "prn-wide"), a weights file, a network, or "auto": the
            coefficients of "coefficients-wide", fitted to the photo, or to both with one identity. Where it
            has no weights, or a position map is asked for (`correct`, `prior`; a note says so), TwoView for
            two photos, PRN for one ("prn-longer" if there is one), and for a face that is turned away further
            than PRN has seen PRN's "wide".
            Volumetric systems give a closed mesh of their own, without map and texture; "rotation" finds the
            head that it turns by Coefficients, "rotation-prn" by PRN.
        landmarks: (68, 2) of the front photo in pixels, if they are known; or a pair, one for each photo; or
            "network": the landmark network places the box, where its weights are on this machine.
        box: x0, y0, x1, y1 that bounds the 68 landmarks of the front photo; or a pair, one for each photo.
            It stays where it is, unless the photo is turned (`correct`).
        correct: turn the face upright first, for photos that are tilted or upside down (`correction`); True
            takes the tilt from the landmarks that are given, detected or in the network's own answer, an
            aligner is asked for them. A box that is given is moved with them where they agree with it.
        device: where the network runs; None is where a network that is given lies (it is put into eval mode),
            for others a CUDA device if there is one, else the CPU.
        refine: for every network of coefficients, steps by which its answer is fitted to this photo; a few
            dozen. None is REFINE for "auto", else 0.
        prior: return the most probable face behind the network's position map (`prior.Prior`), which is
            closer to the truth where training was short; None does so for every system that gives a map.

    Raises:
        FaceNotFoundError: no face in a photo, and neither landmarks nor box were given.
        ValueError: a photo, a box, a model, a device or a number of steps that cannot be used; the message
            names it and says what to do.
        FileNotFoundError: the system, or what it needs, has no weights on this machine.
    """
    asked = isinstance(landmarks, str)
    if asked and landmarks != "network":
        raise ValueError(f'landmarks must be (68, 2), a pair of them or "network", got {landmarks!r}')
    if device is None and isinstance(model, nn.Module):
        device = next((parameter.device for parameter in model.parameters()), None)
    if not (refine is None or (isinstance(refine, Integral) and refine >= 0)):
        raise ValueError(f"refine must be a whole number of steps, 0 or more, got {refine!r}")
    device = device_of(device)
    photos, automatic = 1 if side is None else 2, isinstance(model, str) and model == "auto"
    mapped = bool(correct) or prior is not None
    model, notes = _automatic(photos, mapped=mapped) if automatic else (model, ())
    network = _network(model, photos, device)
    output = getattr(network, "output", "map")
    _check_asked(network, output, correct=bool(correct), refine=bool(refine), prior=bool(prior))
    if asked and correct is True:
        correct = _network_aligner(device) or True
    views = views_of(front, side, None if asked else landmarks, box, correct)
    views[0] = replace(views[0], notes=(*views[0].notes, *notes))
    face = face_model_of(str(device))
    if asked and not correct:
        views = [_placed(view, face) for view in views]
    if output == "volume":
        from facet.reconstruction.volumes import reconstruct_volume

        return reconstruct_volume(views[0], network, face, device)
    if output == "coefficients":
        steps = REFINE if refine is None and automatic else refine or 0
        return _by_coefficients(views, network, face, steps)
    if automatic and side is None:
        views[0], network = _for_its_pose(views[0], network, face)
    return reconstruct_views(views, network, face, noise=NOISE if prior in (None, True) else 0.0)


def reconstruct_views(views: list[View], network: nn.Module, face, *, noise: float = NOISE) -> Reconstruction:
    """As :func:`reconstruct`, from photos whose boxes are known, with a network and a face model at hand.

    Args:
        views: as many as the network reads, the front photo first.
        network: in eval mode; its position maps are over `face`'s UV.
        face: a face model with triangles, uv, landmarks, mean and weight on the network's device.
        noise: of the map, mm, see `complete`; 0 is without prior.
    """
    position_map, crop, views = settle(views, network, face)
    vertices, position_map = complete(position_map, face, noise=noise)
    return _assembled(views, vertices, position_map, crop, network, face)


def _assembled(
    views: list[View], vertices: Tensor, position_map: Tensor, crop: Tensor, network: nn.Module, face
) -> Reconstruction:
    """The result of vertices (V, 3) and a position map (3, S, S), both in pixels of the front crop."""
    to_photo = lift(invert(crop[None]))[0].to(vertices)
    uv = face.uv.to(position_map)
    vertices = transform_points(to_photo, vertices)
    in_photo = transform_points(to_photo, position_map.flatten(1).T).T.view_as(position_map)
    texture = unwrap(views[0].image, in_photo, vertices, face.triangles, uv)
    colors = at_uv(texture.image, uv)
    return Reconstruction(
        vertices=vertices.cpu().numpy(),
        triangles=face.triangles.cpu().numpy(),
        landmarks=vertices[face.landmarks].cpu().numpy(),
        pose=head_pose(vertices, face),
        image_size=views[0].image.shape[:2],
        system=network.name,
        variant=getattr(network, "variant", ""),
        position_map=position_map.cpu().numpy(),
        crop=crop.cpu().numpy(),
        uv=uv.cpu().numpy(),
        texture=_to_bytes(texture.image.permute(1, 2, 0)),
        colors=_to_bytes(colors),
        confidence=at_uv(texture.seen[None], uv)[:, 0].cpu().numpy(),
        box=views[0].box_in_photo,
        notes=tuple(note for view in views for note in (*view.notes, *view.turned)),
    )


def surface(
    photo: ImageLike,
    network: nn.Module,
    face,
    *,
    landmarks=None,
    box=None,
    correct=False,
    noise: float = NOISE,
) -> tuple[Tensor, View]:
    """(V, 3) vertices in the photo, and the view they were read from: :func:`reconstruct` without texture.

    Arguments are those of `reconstruct` and `reconstruct_views`; the network gives position maps.
    """
    views = views_of(photo, None, landmarks, box, correct)
    position_map, crop, views = settle(views, network, face)
    vertices, _ = complete(position_map, face, noise=noise)
    return transform_points(lift(invert(crop[None]))[0].to(vertices), vertices), views[0]


def settle(views: list[View], network: nn.Module, face) -> tuple[Tensor, Tensor, list[View]]:
    """The network's map of the final crop: (3, S, S) in the crop, (2, 3) from the photo to it, the views.

    A box that a detector gave is moved to the landmarks that the network found, and in an upright picture
    the picture is turned to them too.
    """
    from facet.reconstruction.landmarks import of_map

    position_map, crop = _predict(views, network)
    if not views[0].given:
        for _ in range(1 if views[0].frame is None else correction.PASSES):
            views = [moved(views[0], of_map(position_map, crop, face)), *views[1:]]
            position_map, crop = _predict(views, network)
    return position_map, crop, views


def _network_aligner(device: torch.device) -> correction.Aligner | None:
    """The landmark network as an aligner, None where its weights are not on this machine."""
    from facet.reconstruction.landmarks import NetworkAligner, load_network

    network = load_network(device)
    return None if network is None else NetworkAligner(network)


def _placed(view: View, face) -> View:
    """The view with the landmarks that the landmark network finds, and their box."""
    from facet.reconstruction.landmarks import FINDERS, located

    try:
        found = located(view, face, names=FINDERS[:1])
    except FileNotFoundError:
        note = "the landmark network has no weights on this machine: the detector's box was taken"
        return replace(view, notes=(*view.notes, note))
    if found.landmarks is None:
        return found
    return replace(found, box=view.box if view.given else detect.box_of(found.landmarks), given=True)


def _for_its_pose(view: View, network: nn.Module, face) -> tuple[View, nn.Module]:
    """A photo and the network that fits its pose: one for all poses where the face is turned away."""
    from facet.reconstruction.landmarks import landmarks_of_crops, load_network, yaw_of

    device = next(network.parameters()).device
    finder = load_network(device)
    if finder is None:
        return view, network
    crop = crop_image(view.image, crop_matrix(view, finder.image_size), finder.image_size).to(device)
    yaw = yaw_of(landmarks_of_crops(finder, crop)[0], face.mean[face.landmarks])
    if abs(yaw) <= TURNED:
        return view, network
    try:
        other = weights.load("prn-wide", device)
    except FileNotFoundError:
        return view, network
    note = f"the face in {view.name} is turned by {abs(yaw):.0f}°: PRN for all poses was taken"
    return replace(view, notes=(*view.notes, note)), other


def _by_coefficients(views: list[View], network: nn.Module, face, refine: int) -> Reconstruction:
    """As `reconstruct_views`, through a face model's coefficients; two photos share their identity."""
    from facet.reconstruction import by_coefficients
    from facet.reconstruction.landmarks import located
    from facet.rendering import map_from_mesh

    for number, view in enumerate(views):
        if not view.given:
            found = by_coefficients.fit(view.image, view.box, network, face)
            view = moved(view, found.to_photo(found.renderer.landmarks(found.face, found.size)[0]))
        if refine and view.landmarks is None:
            with suppress(FileNotFoundError):  # nobody finds any: its own guide it
                view = located(view, face)
        views[number] = view
    shown = [by_coefficients.Photo(view.image, view.box, view.landmarks) for view in views]
    found = by_coefficients.fit_together(shown, network, face, refine=refine)[0]
    vertices = found.vertices(face)
    position_map = map_from_mesh(vertices[None], face.uv, face.triangles, found.size)[0]
    return _assembled(views, vertices, position_map, found.matrix, network, face)


def head_pose(vertices: Tensor, face) -> Pose:
    """Yaw, pitch, roll of (V, 3) image-frame vertices, from the similarity of the mean face to them."""
    weight = (face.weight > 0).to(torch.float64)  # the rim of neck moves with the neck
    found = similarity(face.mean[None].double(), vertices[None].double(), weight, reflect=True)
    return Pose(*(float(angle[0]) for angle in found.head_pose()))


def _check_asked(network: nn.Module, output: str, *, correct: bool, refine: bool, prior: bool) -> None:
    """Refuse what only another kind of answer can be asked for."""
    if correct and output != "map":
        raise ValueError(
            f"{network.name} gives no position map, and only those are corrected: turn the photo"
        )
    if refine and output != "coefficients":
        raise ValueError(f"refine is for networks of coefficients; {network.name} has nothing to refine")
    if prior and output != "map":
        raise ValueError(f"{network.name} gives no position map, and the prior is for those")


def _automatic(photos: int, *, mapped: bool) -> tuple[Path, tuple[str, ...]]:
    """The weights that "auto" stands for, and a note where they are others because a map is asked for."""
    if not mapped:
        return weights.first_of(*AUTO[photos]), ()
    taken = weights.first_of(*(name for name in AUTO[photos] if not name.startswith("coefficients")))
    if weights.first_of(*AUTO[photos]) == taken:
        return taken, ()
    note = f"{AUTO[photos][0]} was not taken: correct and prior are for position maps, and it gives none"
    return taken, (note,)


def _network(model: str | Path | nn.Module, photos: int, device: torch.device) -> nn.Module:
    """The network that reads this many photos, in eval mode on the device."""
    if isinstance(model, nn.Module):
        if lacking := [name for name in ("name", "views", "image_size") if not hasattr(model, name)]:
            raise ValueError(
                f"a {type(model).__name__} is no network that reconstructs, it has no {', '.join(lacking)}: "
                "give a system's name, a weights file or one of facet.networks"
            )
        network = model.eval().to(device)
    else:
        network = _rotation(model, str(device)) if model in ROTATIONS else weights.load(model, device)
    fits_both = getattr(network, "output", "map") == "coefficients" and photos == 2
    if network.views != photos and not fits_both:
        needs = {1: "one photo", 2: "two photos, front and side"}[network.views]
        raise ValueError(
            f"{network.name} reads {needs}, but {photos} {'was' if photos == 1 else 'were'} given"
        )
    if getattr(network, "output", "map") not in ("map", "volume", "coefficients"):
        raise ValueError(
            f"{network.name} gives no face; reconstruct with prn, mobile, twoview, residual, vrn, "
            "coefficients, rotation or one-pass"
        )
    return network


@cache
def _rotation(name: str, device: str) -> nn.Module:
    """The pipeline that makes its second photo itself; its weights are those of three systems."""
    from facet.rotation import pipeline

    return pipeline.load(device, face=face_model_of(device), fit_by=ROTATIONS[name])


@cache
def face_model_of(device: str):
    """The face model on a device, loaded once for all who ask."""
    from facet import face_model

    return face_model.load(device=device)


def _predict(views: list[View], network: nn.Module) -> tuple[Tensor, Tensor]:
    """(3, S, S) position map in pixels of the front crop, and (2, 3) float64 from the photo to that crop."""
    size, device = network.image_size, next(network.parameters()).device
    matrices = [crop_matrix(view, size) for view in views]
    crops = [crop_image(view.image, matrix, size) for view, matrix in zip(views, matrices, strict=True)]
    return predict_with_flip(network, torch.cat(crops, dim=1).to(device))[0], matrices[0][0].to(device)


def _to_bytes(values: Tensor) -> np.ndarray:
    return (values.clamp(0.0, 1.0) * 255.0).round().to(torch.uint8).cpu().numpy()
