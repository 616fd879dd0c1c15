"""Proxies fitted to the mannequin: bound to the coarse head, pushed out of the skin, with what light needs.

Build time only.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch

from facet.face_model.binding import follow, offsets_of
from facet.face_model.mannequin import LOWER_TEETH, Mannequin, Surface
from facet.face_model.proxies import Proxy, strand_direction

STEEPEST = 1.5  # largest weight that is kept: beyond, a vertex lies far outside its three points
EAR = (74.0, -45.0, 45.0, -45.0, 25.0)  # mm: |x| from, y from and to, z from and to
DEEPEST = 12.0  # mm under the skin; vertices deeper than that are left there, edges from a quarter of it
LIFT = 0.88  # of what hangs before the face is drawn away
CHIN = -66.0  # mm, height of the middle of the chin
VOXEL = 4.0  # mm
TEETH_DOWN = (0.5, 4.0)  # mm that lower and upper teeth are let down, to show where lips part
EVENING = 6  # times that strands take their neighbours' direction
CROWN = (0.0, 115.0, -25.0)  # where hair grows from, mm


@dataclass
class Fitted:
    """A proxy on the coarse head: n vertices.

    Attributes:
        references, weights, offsets: (n, 3), turns: (n,), as `binding.follow` takes them.
        places: (n, 3) on the reference head; uv, triangles: of the proxy.
        normals, strands: (n, 3) unit; occlusion: (n,) share of the surrounding that is seen.
    """

    references: np.ndarray
    weights: np.ndarray
    offsets: np.ndarray
    turns: np.ndarray
    places: np.ndarray
    uv: np.ndarray
    triangles: np.ndarray
    normals: np.ndarray | None = None
    strands: np.ndarray | None = None
    occlusion: np.ndarray | None = None

    def on(self, mannequin: Mannequin, coarse: torch.Tensor) -> np.ndarray:
        """(n, 3) places on a coarse head (V, 3)."""
        coarse = coarse[None].double()
        scale = mannequin.frame.scale(coarse).expand(len(self.offsets), 3)
        arrays = (self.references, self.weights, self.offsets, self.turns)
        return follow(mannequin.frame.points(coarse)[0], *map(torch.from_numpy, arrays), scale).numpy()

    def placed(self, mannequin: Mannequin, places: np.ndarray) -> "Fitted":
        """The same binding with offsets that lead to `places` on the reference head."""
        reference = torch.from_numpy(mannequin.reference)[None]
        offsets = offsets_of(
            torch.from_numpy(places),
            mannequin.frame.points(reference)[0],
            *map(torch.from_numpy, (self.references, self.weights, self.turns)),
            torch.ones(3, dtype=torch.float64),
        )
        return replace(self, places=places, offsets=offsets.numpy())


def bind(proxy: Proxy, mannequin: Mannequin, *, skull: bool) -> Fitted:
    """Hang a proxy on the coarse head, on MakeHuman's own three vertices where the head has them.

    Where it has not (helpers), or where they move in expressions though `skull` is set, the nearest point of
    the skin takes their place.
    """
    references, weights = mannequin.row[proxy.references], proxy.weights
    allowed = mannequin.still if skull else np.ones(len(mannequin.template), bool)
    kept = (references >= 0).all(axis=1) & allowed[references].all(axis=1)
    kept &= np.abs(weights).max(axis=1) <= STEEPEST
    near, near_weights = nearest(
        proxy.on(mannequin.base), mannequin.template, _usable(mannequin, allowed, skull)
    )
    references = np.where(kept[:, None], references, near)
    return hang(proxy, mannequin, references, np.where(kept[:, None], weights, near_weights), turns=False)


def bind_lashes(proxy: Proxy, mannequin: Mannequin) -> Fitted:
    """Hang lashes on the lids' edges: each vertex where the strand's root is, turning with the lid."""
    places = proxy.on(mannequin.base)
    references, weights = nearest(places, mannequin.template, mannequin.triangles)
    feet = (mannequin.template[references] * weights[..., None]).sum(axis=1)
    rooted = np.linalg.norm(places - feet, axis=1) < 0.6
    part = components(proxy)
    for k in range(part.max() + 1):
        here, roots = (part == k).nonzero()[0], (rooted & (part == k)).nonzero()[0]
        root = roots[np.abs(places[here, None, 0] - places[None, roots, 0]).argmin(axis=1)]
        references[here], weights[here] = references[root], weights[root]
    return hang(proxy, mannequin, references, weights, turns=True)


def bind_teeth(proxy: Proxy, mannequin: Mannequin) -> Fitted:
    """Hang teeth on the anchors: the lower ones follow the jaw, the upper ones the skull."""
    first = np.where(lower_teeth(proxy), 0, 3) + len(mannequin.template)
    references = first[:, None] + np.arange(3)
    points = mannequin.frame.points(torch.from_numpy(mannequin.template)[None])[0].numpy()
    weights = barycentric(proxy.on(mannequin.base), points[references])
    fitted = hang(proxy, mannequin, references, weights, turns=True)
    down = np.where(lower_teeth(proxy), *TEETH_DOWN)[:, None] * [0.0, 1.0, 0.0]
    return fitted.placed(mannequin, fitted.places - down)


def lower_teeth(proxy: Proxy) -> np.ndarray:
    """(n,) bool, vertices of the lower jaw."""
    return proxy.references.max(axis=1) <= LOWER_TEETH[-1]


def hang(proxy: Proxy, mannequin: Mannequin, references, weights, *, turns: bool) -> Fitted:
    """The proxy on given points of the head, at its own place on the base mesh's head."""
    places = proxy.on(mannequin.base)
    turning = np.full(len(places), turns)
    template = torch.from_numpy(mannequin.template)[None]
    offsets = offsets_of(
        torch.from_numpy(places),
        mannequin.frame.points(template)[0],
        *map(torch.from_numpy, (references, weights, turning)),
        mannequin.frame.scale(template)[0],
    )
    fitted = Fitted(references, weights, offsets.numpy(), turning, places, proxy.uv, proxy.triangles)
    return replace(fitted, places=fitted.on(mannequin, torch.from_numpy(mannequin.reference)))


def components(proxy: Proxy) -> np.ndarray:
    """(n,) number of the connected piece that each vertex belongs to."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    joined = proxy.place[proxy.triangles]
    ends = joined.ravel(), np.roll(joined, 1, axis=1).ravel()
    graph = coo_matrix((np.ones(len(ends[0])), ends), shape=(proxy.place.max() + 1,) * 2)
    return connected_components(graph, directed=False)[1][proxy.place]


def _usable(mannequin: Mannequin, allowed: np.ndarray, skull: bool) -> np.ndarray:
    """(F, 3) triangles of the skin to hang on; the skull's without the ears, which differ too much."""
    chosen = allowed[mannequin.triangles].all(axis=1)
    if skull:
        x, y, z = np.abs(mannequin.reference[:, 0]), mannequin.reference[:, 1], mannequin.reference[:, 2]
        ear = (x > EAR[0]) & (y > EAR[1]) & (y < EAR[2]) & (z > EAR[3]) & (z < EAR[4])
        chosen &= ~ear[mannequin.triangles].any(axis=1)
    return mannequin.triangles[chosen]


def nearest(points: np.ndarray, vertices: np.ndarray, triangles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(n, 3) corners and (n, 3) weights of the nearest points on a mesh."""
    import trimesh
    from scipy.spatial import cKDTree

    corners = vertices[triangles]
    _, close = cKDTree(corners.mean(axis=1)).query(points, k=24)
    flat = corners[close.ravel()]
    found = trimesh.triangles.closest_point(flat, np.repeat(points, 24, axis=0)).reshape(-1, 24, 3)
    best = np.linalg.norm(found - points[:, None], axis=2).argmin(axis=1)
    chosen = triangles[close[np.arange(len(points)), best]]
    return chosen, barycentric(found[np.arange(len(points)), best], vertices[chosen])


def barycentric(points: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """(n, 3) weights of the points' feet on the planes of triangles (n, 3, 3)."""
    a, b = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    p = points - corners[:, 0]
    aa, ab, bb = (a * a).sum(1), (a * b).sum(1), (b * b).sum(1)
    pa, pb = (p * a).sum(1), (p * b).sum(1)
    area = aa * bb - ab * ab
    second, third = (bb * pa - ab * pb) / area, (aa * pb - ab * pa) / area
    return np.stack([1 - second - third, second, third], axis=1)


def hanging(fitted: Fitted, mannequin: Mannequin, height: float) -> np.ndarray:
    """(n,) mm that vertices before the face hang lower than `height` above the middle of the eyes."""
    x, y, z = fitted.places.T
    return np.maximum(mannequin.eyes + height - y, 0) * _step((z - 55) / 30) * _step((78 - np.abs(x)) / 30)


def lifted(fitted: Fitted, mannequin: Mannequin, surface: Surface, height: float) -> Fitted:
    """Hair before the face drawn up to `height` mm above the middle of the eyes."""
    move = np.outer(LIFT * hanging(fitted, mannequin, height), (0.0, 1.0, 0.0))
    return _drawn(fitted, mannequin, surface, move)


def parted(fitted: Fitted, mannequin: Mannequin, surface: Surface, width: float) -> Fitted:
    """Hair before the face drawn aside like a curtain, to `width` mm from the middle."""
    x, y, z = fitted.places.T
    inside = np.maximum(width - np.abs(x), 0) * _step((z - 25) / 40) * _step((mannequin.eyes + 65 - y) / 50)
    return _drawn(fitted, mannequin, surface, np.outer(LIFT * np.sign(x) * inside, (1.0, 0.0, 0.0)))


def _drawn(fitted: Fitted, mannequin: Mannequin, surface: Surface, move: np.ndarray) -> Fitted:
    """Vertices moved by (n, 3) mm, then brought as near to the skin as they were."""
    places = fitted.places + move
    distance, normal = surface.distance(places)
    farther = np.maximum(distance - np.maximum(surface.distance(fitted.places)[0], 1), 0)
    farther = np.where(np.abs(move).max(axis=1) > 0, farther, 0)
    return fitted.placed(mannequin, places - farther[:, None] * normal)


def middle(fitted: Fitted, within: float, shape: tuple[int, int]) -> np.ndarray:
    """(S, S) 1 on texels that lie less than `within` mm from the middle of the chin, 0 from 14 mm farther."""
    from scipy.interpolate import griddata

    rows, columns = np.indices(shape)
    uv = np.stack([columns + 0.5, rows + 0.5], axis=-1) / shape[0]
    away = np.hypot(fitted.places[:, 0], 0.8 * (fitted.places[:, 1] - CHIN))
    return _step((within + 14 - griddata(fitted.uv, away, uv, method="nearest")) / 14)


def _step(value: np.ndarray) -> np.ndarray:
    value = value.clip(0, 1)
    return value * value * (3 - 2 * value)


def clear(
    fitted: Fitted, mannequin: Mannequin, heads: list[torch.Tensor], surfaces: list[Surface], gap: float
) -> Fitted:
    """Push vertices outward until they and the middles of their edges are `gap` mm above the skin.

    On every one of some heads; what is deeper than DEEPEST stays where it is.
    """
    edges = np.unique(np.sort(fitted.triangles[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1), axis=0)
    for _ in range(3):
        push = np.zeros(len(fitted.places))
        direction = surfaces[0].distance(fitted.places)[1]
        for head, surface in zip(heads, surfaces, strict=True):
            places = fitted.on(mannequin, head)
            samples = np.concatenate([places, places[edges].mean(axis=1)])
            distance, _ = surface.distance(samples)
            deepest = np.where(np.arange(len(samples)) < len(places), DEEPEST, DEEPEST / 4)
            missing = np.where(distance > -deepest, np.maximum(gap - distance, 0), 0)
            push = np.maximum(push, missing[: len(places)])
            for k in (0, 1):
                np.maximum.at(push, edges[:, k], missing[len(places) :])
        if push.max() < 0.05:
            break
        fitted = fitted.placed(mannequin, fitted.places + direction * push[:, None])
    return fitted


def finish(fitted: Fitted, place: np.ndarray, grey: np.ndarray, alpha: np.ndarray, room: "Room") -> Fitted:
    """Normals, strands and occlusion on the reference head; place: (n,) joins vertices split at seams."""
    corners = fitted.places[fitted.triangles]
    faces = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals = np.zeros((place.max() + 1, 3))
    for k in range(3):
        np.add.at(normals, place[fitted.triangles[:, k]], faces)
    strands = _strands(fitted, place, grey)
    seen = np.minimum(2 * room.with_hair(fitted, alpha).open_share(fitted.places), 1)  # skin sees half
    return replace(fitted, normals=_unit(normals)[place], strands=strands, occlusion=seen)


def fluffy(fitted: Fitted, surface: Surface, share: float) -> np.ndarray:
    """(n, 3) normals turned outward, and by `share` toward those of the skin below, as of one mass."""
    outward = surface.distance(fitted.places)[1]
    inward = (fitted.normals * outward).sum(axis=1, keepdims=True) < 0
    return _unit((1 - share) * np.where(inward, -1, 1) * fitted.normals + share * outward)


def _strands(fitted: Fitted, place: np.ndarray, grey: np.ndarray) -> np.ndarray:
    """(n, 3) unit directions of the strands that the texture shows, evened out over the mesh.

    Directions without a sign are averaged as tensors; neighbours then agree on one, away from the crown.
    """
    from scipy.sparse import coo_matrix, diags, identity

    corners, uv = fitted.places[fitted.triangles], fitted.uv[fitted.triangles]
    p1, p2 = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    (u1, v1), (u2, v2) = (uv[:, 1] - uv[:, 0]).T, (uv[:, 2] - uv[:, 0]).T
    area = (u1 * v2 - u2 * v1)[:, None]
    right, down = (p1 * v2[:, None] - p2 * v1[:, None]) * area, (p2 * u1[:, None] - p1 * u2[:, None]) * area
    size = len(grey)
    texel = (uv * size).astype(int).clip(0, size - 1)
    along = strand_direction(grey)[texel[..., 1], texel[..., 0]]  # (m, 3, 2)
    direction = along[..., :1] * right[:, None] + along[..., 1:] * down[:, None]
    sure = np.linalg.norm(along, axis=2, keepdims=True)
    direction = _unit(direction) * sure
    joined, count = place[fitted.triangles], place.max() + 1
    tensor = np.zeros((count, 9))
    np.add.at(tensor, joined, np.einsum("mki,mkj->mkij", direction, direction).reshape(-1, 3, 9))
    ends = joined.ravel(), np.roll(joined, 1, axis=1).ravel()
    graph = coo_matrix((np.ones(len(ends[0])), ends), shape=(count, count)).tocsr()
    graph = ((graph + graph.T) > 0).astype(float) + identity(count)
    mean = diags(1 / np.asarray(graph.sum(axis=1)).ravel()) @ graph
    for _ in range(EVENING):
        tensor = mean @ tensor
    strands = np.linalg.eigh(tensor.reshape(-1, 3, 3))[1][:, :, 2]
    outward = np.zeros((count, 3))
    outward[place] = fitted.places - np.asarray(CROWN)
    strands *= np.where((strands * outward).sum(axis=1, keepdims=True) < 0, -1, 1)
    for _ in range(20):
        strands *= np.where((strands * (mean @ strands)).sum(axis=1, keepdims=True) < 0, -1, 1)
    return strands[place]


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)


class Room:
    """How much of its surrounding a point sees through head and hair: rays through voxels."""

    def __init__(self, surface: Surface, directions: int = 48):
        self.origin, self.shape = np.array([-200.0, -260.0, -200.0]), (100, 120, 100)
        centres = np.stack(np.meshgrid(*(np.arange(n) for n in self.shape), indexing="ij"), axis=-1)
        centres = centres.reshape(-1, 3) * VOXEL + VOXEL / 2 + self.origin
        inside = surface.distance(centres)[0] < -VOXEL / 2
        self.head = np.where(inside, 1.0, 0.0).reshape(self.shape)
        self.depth = self.head
        step = (np.arange(directions) + 0.5) / directions
        height, turn = 1 - 2 * step, np.pi * (1 + 5**0.5) * np.arange(directions)
        flat = np.sqrt(1 - height**2)
        self.directions = np.stack([flat * np.cos(turn), height, flat * np.sin(turn)], axis=1)

    def with_hair(self, fitted: Fitted, alpha: np.ndarray) -> "Room":
        """The room with a fitted thing in it; alpha: (S, S) of its texture."""
        made = object.__new__(Room)
        made.__dict__.update(self.__dict__)
        points, uv, area = _samples(fitted)
        texel = (uv * len(alpha)).astype(int).clip(0, len(alpha) - 1)
        opacity = alpha[texel[:, 1], texel[:, 0]] * area
        hair = np.zeros(self.shape)
        np.add.at(hair, self._cell(points), opacity)
        made.depth = self.head + 0.5 * hair / VOXEL**3  # mean projected area in random directions: a half
        return made

    def only(self, fitted: Fitted, alpha: np.ndarray) -> "Room":
        """The room with a fitted thing and no head in it."""
        made = self.with_hair(fitted, alpha)
        made.depth = made.depth - self.head
        return made

    def open_share(self, points: np.ndarray, normals: np.ndarray | None = None) -> np.ndarray:
        """(n,) mean transmittance of the rays from points; with normals, only above and by the cosine."""
        total, weight = np.zeros(len(points)), np.full(len(points), 1e-9)
        for direction in self.directions:
            share = np.ones(len(points)) if normals is None else np.maximum(normals @ direction, 0)
            dense = np.zeros(len(points))
            for length in np.arange(1.0, 24) * VOXEL:
                dense += self.depth[self._cell(points + length * direction)]
            total += share * np.exp(-VOXEL * dense)
            weight += share
        return total / weight

    def above(self, points: np.ndarray, normals: np.ndarray, height: float = 60.0) -> np.ndarray:
        """(n,) whether something stands above points of the skin, along their normals, or next to that."""
        from scipy.ndimage import binary_dilation

        filled, met = binary_dilation(self.depth > 0.02), np.zeros(len(points), bool)
        for length in np.arange(0, height, VOXEL / 2):
            met |= filled[self._cell(points + length * normals)]
        return met

    def _cell(self, points: np.ndarray) -> tuple:
        cell = ((points - self.origin) / VOXEL).astype(int)
        return tuple(cell.clip(0, np.array(self.shape) - 1).T)


def _samples(fitted: Fitted) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points on the triangles, their uv, and the area (mm²) that each stands for."""
    corners = fitted.places[fitted.triangles]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1) / 2
    count = np.ceil(area / 4).astype(int).clip(1, 64)
    which = np.repeat(np.arange(len(area)), count)
    weights = np.random.default_rng(5).dirichlet((1, 1, 1), len(which))[:, :, None]
    points = (corners[which] * weights).sum(axis=1)
    return points, (fitted.uv[fitted.triangles[which]] * weights).sum(axis=1), (area / count)[which]
