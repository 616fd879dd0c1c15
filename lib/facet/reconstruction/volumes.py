"""From a photo to a face by a volumetric network: volume, closed mesh, largest body, the photo's colours."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from facet.crop import crop_box, crop_box_from_bounds, crop_image, invert, lift
from facet.geometry import euler_angles, transform_points
from facet.heatmaps import guide, soft_argmax
from facet.reconstruction import landmarks as finder
from facet.reconstruction.bodies import components, largest_body, sizes
from facet.reconstruction.isosurface import isosurface
from facet.reconstruction.result import Pose, Reconstruction
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
        ValueError: the volume is empty.
    """
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


def reconstruct_volume(view, network: nn.Module, face, device: torch.device) -> Reconstruction:
    """A photo's face by a volumetric network; see `pipeline.reconstruct`.

    The landmarks are those of the network itself (VRN-Multitask), else of the landmark network, else of PRN;
    they guide VRN-Guided, and place the box again where the caller has not.

    Args:
        view: `views.View`; face: the face model.

    Raises:
        ValueError: the volume is empty, or VRN-Guided has nobody to find landmarks.
    """
    box, notes = view.box, list(view.notes)
    points = _landmarks(view, device, notes) if network.name != "vrn-multitask" else None
    for _ in range(1 if view.given or points is not None else 2):
        square = crop_box_from_bounds(torch.from_numpy(np.asarray(box, dtype=np.float64)))
        if points is not None and not view.given:
            square = crop_box(torch.from_numpy(points))
        matrix = square.matrix(network.image_size)[0]
        back = invert(matrix[None])[0]
        crop = crop_image(view.image, matrix, network.image_size).to(device)
        inside = None
        if points is not None:
            inside = torch.from_numpy(points @ matrix[:, :2].numpy().T + matrix[:, 2].numpy())[None].float()
        volumes, found = predict_volumes(network, crop, inside)
        if found is not None:
            marks = (found[0].double().cpu() @ back[:, :2].T + back[:, 2]).numpy()
            box = np.concatenate((marks.min(axis=0), marks.max(axis=0)))
    try:
        solid = solid_of(volumes[0], lattice_of(network))
    except ValueError as error:
        raise ValueError(f"{network.name} found no face in {view.name}: give a box around it") from error
    to_photo = lift(back[None])[0].float()
    vertices = transform_points(to_photo, torch.from_numpy(solid.vertices)).numpy()
    rotation, depth = finder.place_mean_face(torch.from_numpy(marks), face.mean[face.landmarks].cpu())
    depth = depth + _surface_offset(vertices, marks, depth.numpy())
    if solid.bumps:
        notes.append(f"{solid.bumps} bodies beside the face were removed")
    return Reconstruction(
        vertices=vertices,
        triangles=solid.triangles,
        landmarks=np.column_stack((marks, depth.numpy())).astype(np.float32),
        pose=Pose(*(float(angle) for angle in euler_angles(rotation))),
        image_size=view.image.shape[:2],
        system=network.name,
        crop=matrix.numpy(),
        colors=photo_colors(view.image, vertices),
        box=box,
        notes=tuple(notes),
    )


def _landmarks(view, device: torch.device, notes: list[str]) -> np.ndarray:
    """(68, 2) landmarks of the photo: the caller's, the landmark network's, or PRN's."""
    if view.landmarks is not None:
        return np.asarray(view.landmarks, dtype=np.float64)[:, :2]
    network = finder.load_network(device)
    if network is not None:
        return finder.find_landmarks(view.image, view.box, network)
    from facet.reconstruction.pipeline import landmarks_by_map

    notes.append("landmarks by prn: the landmark network has no weights on this machine")
    return landmarks_by_map(view, device)


def _surface_offset(vertices: np.ndarray, marks: np.ndarray, depth: np.ndarray) -> float:
    """What is added to the mean face's depth so that its front-most half of landmarks lies on the surface."""
    from scipy.spatial import cKDTree

    near = np.argsort(depth)[len(depth) // 2 :]
    _, close = cKDTree(vertices[:, :2]).query(marks[near], k=min(12, len(vertices)))
    return float(np.median(vertices[close, 2].max(axis=1) - depth[near]))
