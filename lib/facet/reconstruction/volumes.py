"""From a photo to a face by a volumetric network: volume, closed mesh, largest body, the photo's colours."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from facet.crop import crop_image, invert, lift
from facet.geometry import euler_angles, transform_points
from facet.heatmaps import guide, soft_argmax
from facet.reconstruction import detect
from facet.reconstruction import landmarks as finder
from facet.reconstruction.bodies import components, largest_body, sizes
from facet.reconstruction.crops import apply, square, to_photo
from facet.reconstruction.isosurface import isosurface
from facet.reconstruction.result import Pose, Reconstruction
from facet.reconstruction.views import View, moved
from facet.rendering.voxels import Lattice


@dataclass(frozen=True)
class Solid:
    """A mesh that was read from a volume.

    Attributes:
        vertices: (N, 3) float32 pixels of the crop, image frame; triangles: (F, 3) int64, outward, closed.
        bumps: how many bodies there were beside the largest.
    """

    vertices: np.ndarray
    triangles: np.ndarray
    bumps: int


def lattice_of(network: nn.Module) -> Lattice:
    """Where the voxels of a network lie in its crops."""
    return Lattice(network.image_size, tuple(network.volume))


@torch.no_grad()
def predict_volumes(
    network: nn.Module, images: Tensor, landmarks: Tensor | None = None
) -> tuple[Tensor, Tensor | None]:
    """Probabilities (B, D, H, W) of being inside the face, and the landmarks (B, 68, 2) that are known.

    Args:
        network: one of the volumetric networks, in eval mode.
        images: (B, 3, S, S) RGB in [0, 1], on the network's device.
        landmarks: (B, 68, 2) pixels, which VRN-Guided needs.

    Returns:
        The landmarks are those given, or those that VRN-Multitask found.

    Raises:
        ValueError: VRN-Guided without landmarks, or the network gives no volume.
    """
    if network.output != "volume":
        raise ValueError(f"{network.name} gives no volume: take vrn, vrn-multitask or vrn-guided")
    if network.name == "vrn-guided":
        if landmarks is None:
            raise ValueError("vrn-guided needs the 68 landmarks of the photo")
        images = guide(images, landmarks.to(images), sigma=network.sigma)
    output = network(images)
    if landmarks is None and hasattr(network, "landmark_scores"):
        landmarks = soft_argmax(network.landmark_scores(output).float(), network.image_size)
    return network.volume_scores(output).float().sigmoid(), landmarks


def solid_of(
    volume: Tensor | np.ndarray, lattice: Lattice, *, keep: str = "largest", smoothing: float = 0.0
) -> Solid:
    """The mesh of one volume (D, H, W) in pixels of the crop.

    Args:
        keep: "largest" body, or "all".
        smoothing: see `isosurface`.

    Raises:
        ValueError: the volume is empty, or `keep` is another word.
    """
    if keep not in ("largest", "all"):
        raise ValueError(f'keep must be "largest" or "all", got {keep!r}')
    values = volume.cpu().numpy() if isinstance(volume, Tensor) else volume
    vertices, triangles = isosurface(values, smoothing=smoothing)
    labels = components(triangles, len(vertices))
    bumps = len(sizes(labels)) - 1
    if keep == "largest" and bumps:
        vertices, triangles = largest_body(vertices, triangles, labels)
    return Solid(lattice.to_pixels(torch.from_numpy(vertices)).numpy(), triangles, bumps)


def photo_colors(image: np.ndarray, vertices: np.ndarray) -> np.ndarray:
    """(V, 3) uint8 colours of a photo (H, W, 3) uint8 at the vertices' pixels, bilinear, as VRN colours."""
    height, width = image.shape[:2]
    x = vertices[:, 0].clip(0, width - 1)
    y = vertices[:, 1].clip(0, height - 1)
    left, top = (np.floor(c).astype(int).clip(0, end) for c, end in ((x, width - 2), (y, height - 2)))
    across, down = (x - left)[:, None], (y - top)[:, None]
    upper = image[top, left] * (1 - across) + image[top, left + 1] * across
    lower = image[top + 1, left] * (1 - across) + image[top + 1, left + 1] * across
    return np.rint(upper * (1 - down) + lower * down).astype(np.uint8)


def reconstruct_volume(view: View, network: nn.Module, face, device: torch.device) -> Reconstruction:
    """A photo's face by a volumetric network; see `pipeline.reconstruct`.

    The landmarks are those of the network itself (VRN-Multitask), else the caller's, else of another network
    (`landmarks.located`); they guide VRN-Guided, and place the box where the caller has not. Without any, VRN
    keeps the detector's box, and the result has neither landmarks nor pose.

    Args:
        face: the face model.

    Raises:
        ValueError: the volume is empty, or VRN-Guided is left with landmarks that do not fit the face.
        FileNotFoundError: VRN-Guided, and no network that finds landmarks has weights on this machine.
    """
    own, marks = network.name == "vrn-multitask", None
    view = replace(view, landmarks=None) if own else _guided(view, network, face)
    for _ in range(2 if own and not view.given else 1):
        view = view if marks is None else moved(view, marks)
        volume, marks, matrix = _ask(view, network, device)
    try:
        solid = solid_of(volume, lattice_of(network))
    except ValueError as error:
        box = ", ".join(f"{edge:.0f}" for edge in view.box)
        raise ValueError(
            f"{network.name} found no face in {view.name} around the box ({box}): give another"
        ) from error
    to_photo = lift(invert(matrix[None]))[0].float()
    vertices = transform_points(to_photo, torch.from_numpy(solid.vertices)).numpy()
    landmarks, pose = (None, None) if marks is None else _placed(marks, vertices, face)
    bumps = (f"{solid.bumps} bodies beside the face were removed",) if solid.bumps else ()
    return Reconstruction(
        vertices=vertices,
        triangles=solid.triangles,
        landmarks=landmarks,
        pose=pose,
        image_size=view.image.shape[:2],
        system=network.name,
        variant=getattr(network, "variant", ""),
        crop=matrix.numpy(),
        colors=photo_colors(view.image, vertices),
        box=view.box,
        notes=(*view.notes, *bumps),
    )


def _guided(view: View, network: nn.Module, face) -> View:
    """The view with landmarks that fit it, the caller's or found ones, and with their box; else as it is."""
    if view.landmarks is None:
        needed = network.name == "vrn-guided"
        try:
            view = finder.located(view, face)
        except FileNotFoundError:
            if needed:
                raise
            note = "no network on this machine finds landmarks: the result has neither landmarks nor pose"
            return replace(view, notes=(*view.notes, note))
        if view.landmarks is None:
            if needed:
                raise ValueError(
                    f"the landmarks found in {view.name} do not fit the detected face, and {network.name} "
                    "needs some: give landmarks or a box"
                )
            return view
    marks = np.asarray(view.landmarks, dtype=np.float64)[:, :2]
    return replace(view, landmarks=marks, box=view.box if view.given else detect.box_of(marks))


def _ask(view: View, network: nn.Module, device: torch.device) -> tuple[Tensor, np.ndarray | None, Tensor]:
    """The volume (D, H, W) of the view's crop, (68, 2) landmarks in the photo, (2, 3) from it to the crop."""
    matrix = square(view.box, network.image_size)
    crop = crop_image(view.image, matrix, network.image_size).to(device)
    inside = None
    if view.landmarks is not None:
        inside = torch.from_numpy(apply(matrix.numpy(), view.landmarks))[None].float()
    volumes, found = predict_volumes(network, crop, inside)
    return volumes[0], None if found is None else to_photo(matrix, found[0]), matrix


def _placed(marks: np.ndarray, vertices: np.ndarray, face) -> tuple[np.ndarray, Pose]:
    """Landmarks (68, 3) on vertices (V, 3) at places (68, 2) in the photo, by the mean face, and its pose."""
    rotation, depth = finder.place_mean_face(torch.from_numpy(marks), face.mean[face.landmarks].cpu())
    depth = depth.numpy() + _surface_offset(vertices, marks, depth.numpy())
    pose = Pose(*(float(angle) for angle in euler_angles(rotation)))
    return np.column_stack((marks, depth)).astype(np.float32), pose


def _surface_offset(vertices: np.ndarray, marks: np.ndarray, depth: np.ndarray) -> float:
    """What is added to the mean face's depth so that its front-most half of landmarks lies on the surface."""
    from scipy.spatial import cKDTree

    near = np.argsort(depth)[len(depth) // 2 :]
    _, close = cKDTree(vertices[:, :2]).query(marks[near], k=min(12, len(vertices)))
    return float(np.median(vertices[close, 2].max(axis=1) - depth[near]))
