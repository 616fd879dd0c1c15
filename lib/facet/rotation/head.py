"""From a reconstructed face to a head that can be turned: the face as it was found, the rest by the model.

A face patch ends at the hairline and before the ears; turned by 60° it would show its back and no outline.
So the face model's linear modes are fitted to the found face (ridge regression in the head's own frame), the
head that belongs to them is placed like the face, and what the modes cannot say of the face, PRN's own shape
and the camera's perspective, is kept as an offset that fades out over the head.

A phone is held so near that the ears look small behind the nose. The distance of the camera is fitted along:
with (X, Y, Z) the turned head, Z toward the camera, and k one over the distance,

    x = s X / (1 − k Z) + t_x,   y = −s Y / (1 − k Z) + t_y,   z = s Z + t_z.

Head frame: the model frame of `facet.geometry`, millimetres. Image frame: pixels of a crop.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from facet.face_model import PARTS
from facet.geometry import Similarity, rotation_matrix, similarity
from facet.geometry import image_flip as flip_of

# Every so many vertices of the patch are fitted to; 33,553 are far more than 152 numbers need.
STRIDE = 17
# Standard deviations: of what a reconstruction gets wrong at a vertex (mm; large: neighbours err alike),
# of the modes (by definition) and of the expressions (in full strengths).
ERROR, IDENTITY, EXPRESSION = 12.0, 1.0, 0.25
ROUNDS = 3  # of fitting pose, and shape with distance, in turn
# One over the camera's distance, 1/mm: mean and standard deviation of what is expected, and the largest.
NEARNESS, SPREAD, NEAREST = 1 / 1000, 1 / 1000, 1 / 180
SPREADING = 12  # steps over which the offset fades into the head; it smooths PRN's noise too
# Parts of the head that are drawn: skin, eyes, the mouth's inside (lips may part) and neck.
SHOWN = ("skin", "eye_left", "eye_right", "mouth", "body")


@dataclass
class Heads:
    """Heads of a batch.

    Attributes:
        points: (B, Vh, 3) millimetres, head frame.
        placement: the similarity from the head frame to the image frame of the photo's crop (det < 0).
        nearness: (B,) k, one over the camera's distance in millimetres.
        landmarks: (B, 68, 3) millimetres, head frame.
    """

    points: Tensor
    placement: Similarity
    nearness: Tensor
    landmarks: Tensor

    def in_photo(self) -> Tensor:
        """(B, Vh, 3) pixels of the photo's crop."""
        return project(self.points, self.placement, self.nearness)

    def pose(self) -> Tensor:
        """(B, 3) yaw, pitch and roll in degrees."""
        return torch.stack(self.placement.head_pose(), dim=1)

    def turned(self, pose: Tensor) -> tuple[Tensor, Tensor]:
        """Heads and landmarks (B, ·, 3) at other angles (B, 3) in degrees, in the photo's scale."""
        rotation = rotation_matrix(*pose.to(self.points).unbind(dim=1))
        scale = self.placement.scale
        turned = Similarity(scale, flip_of(rotation) @ rotation, scale.new_zeros(len(scale), 3))
        return tuple(project(x, turned, self.nearness) for x in (self.points, self.landmarks))

    def rows(self, which) -> "Heads":
        """Some heads of the batch."""
        placed = self.placement
        placement = Similarity(placed.scale[which], placed.rotation[which], placed.translation[which])
        return Heads(self.points[which], placement, self.nearness[which], self.landmarks[which])


def project(points: Tensor, placement: Similarity, nearness: Tensor) -> Tensor:
    """(B, N, 3) pixels of points (B, N, 3) of the head frame."""
    turned = points @ placement.rotation.mT
    away = (1 - nearness[:, None] * turned[..., 2]).clamp(min=0.2)[..., None]
    turned = torch.cat((turned[..., :2] / away, turned[..., 2:]), dim=2)
    return placement.scale[:, None, None] * turned + placement.translation[:, None]


def flattened(pixels: Tensor, placement: Similarity, nearness: Tensor) -> Tensor:
    """(B, N, 3) where pixels (B, N, 3) would lie if the camera were far away: `placement` leads there."""
    turned = (pixels - placement.translation[:, None]) / placement.scale[:, None, None]
    away = (1 - nearness[:, None] * turned[..., 2]).clamp(min=0.2)[..., None]
    turned = torch.cat((turned[..., :2] * away, turned[..., 2:]), dim=2)
    return placement.scale[:, None, None] * turned + placement.translation[:, None]


class Completion:
    """Completes face patches to heads; everything that does not depend on the face is made once.

    Attributes:
        triangles: (F, 3) of the head as it is shown; mirror: (Vh,) each vertex's partner on the other side.
    """

    def __init__(self, face):
        """face: a face model (`facet.face_model.load`); results live on its device."""
        self.face = face
        counted = (face.weight > 0).nonzero()[:, 0]
        self.vertices = counted[::STRIDE]  # (n,)
        self.start = face.mean[self.vertices]  # (n, 3)
        modes = torch.cat((face.identity[: face.identity_modes], face.expression))
        chunks = [face._limit(face.face_matrix, part)[:, self.vertices] for part in modes.split(16)]
        basis = torch.cat(chunks).flatten(1).double()  # (K, 3 n)
        spread = torch.full((len(modes),), EXPRESSION, dtype=torch.float64, device=modes.device)
        spread[: face.identity_modes] = IDENTITY
        normal = basis @ basis.T + torch.diag(ERROR**2 / spread**2)
        self.basis, self.solve = basis.float(), torch.linalg.solve(normal, basis).float()  # (K, 3 n)
        shown = torch.tensor([PARTS.index(name) for name in SHOWN], device=face.head_part.device)
        visible = torch.isin(face.head_part, shown)
        self.triangles = face.head_triangles[visible]
        head = face.blend_head(face.identity.new_zeros(1, 1))[0]
        self.mirror = _nearest(head * head.new_tensor([-1.0, 1.0, 1.0]), head)[0]
        self.on_patch, self.of_patch = _common(face, head)
        self.means = _neighbour_means(self.triangles, len(head))
        known = torch.zeros(1, len(head), 1, device=head.device)
        known[:, self.on_patch] = 1.0
        # what is left of a constant offset: made up for inside of the patch, left to fade outside
        self.share = torch.where(known > 0, self._smoothed(known).clamp(min=1e-3), torch.ones_like(known))

    def __call__(self, vertices: Tensor) -> Heads:
        """Heads of face patches (B, V, 3) in an image frame."""
        face, chosen = self.face, vertices[:, self.vertices]
        shape = self.start.expand(len(vertices), -1, -1)
        placement = similarity(shape, chosen, reflect=True)
        nearness = torch.full_like(placement.scale, NEARNESS)
        for _ in range(ROUNDS):
            far = flattened(chosen, placement, nearness)
            placement = similarity(shape, far, reflect=True)
            own = placement.inverse().apply(far) - self.start
            nearness, alpha = self._solve(own, shape, placement, nearness)
            shape = self.start + (alpha @ self.basis).view_as(own)
        placement = similarity(shape, flattened(chosen, placement, nearness), reflect=True)
        split = face.identity_modes
        patch, head = face.blend_both(alpha[:, :split], alpha[:, split:])
        offset = torch.zeros_like(head)
        found = placement.inverse().apply(flattened(vertices, placement, nearness))
        offset[:, self.on_patch] = (found - patch)[:, self.of_patch]
        return Heads(head + self._spread(offset), placement, nearness, found[:, face.landmarks])

    def _solve(
        self, own: Tensor, shape: Tensor, placement: Similarity, nearness: Tensor
    ) -> tuple[Tensor, Tensor]:
        """New nearness (B,) and modes (B, K) by ridge regression of the departure (B, n, 3) from the mean.

        To first order, a nearness that is wrong by δ leaves δ (X Z, Y Z, 0), turned back into the head frame:
        one more column, which the modes are eliminated from.
        """
        turned = shape @ placement.rotation.mT
        column = torch.cat((turned[..., :2] * turned[..., 2:], torch.zeros_like(turned[..., 2:])), dim=2)
        column, own = (column @ placement.rotation).flatten(1), own.flatten(1)
        along = column @ self.basis.T  # (B, K)
        weight = (ERROR / SPREAD) ** 2
        top = (column * own).sum(dim=1) - (along * (own @ self.solve.T)).sum(dim=1)
        top = top + weight * (NEARNESS - nearness)
        step = top / (column.square().sum(dim=1) - (along * (column @ self.solve.T)).sum(dim=1) + weight)
        found = (nearness + step).clamp(0.0, NEAREST)
        alpha = (own - (found - nearness)[:, None] * column) @ self.solve.T
        return found, alpha

    def _spread(self, offset: Tensor) -> Tensor:
        """(B, Vh, 3) offsets, smoothed over the head; inside the patch a mean, outside fading to nothing."""
        return self._smoothed(offset) / self.share

    def _smoothed(self, values: Tensor) -> Tensor:
        batch, count, channels = values.shape
        flat = values.permute(1, 0, 2).reshape(count, batch * channels)
        for _ in range(SPREADING):
            flat = torch.sparse.mm(self.means, flat)
        return flat.view(count, batch, channels).permute(1, 0, 2)


def _nearest(points: Tensor, among: Tensor) -> tuple[Tensor, Tensor]:
    """(N,) rows of `among` (M, 3) nearest to points (N, 3), and (N,) the distances."""
    from scipy.spatial import cKDTree

    distance, index = cKDTree(among.cpu().numpy()).query(points.cpu().numpy())
    return torch.from_numpy(index).to(points.device), torch.from_numpy(distance).to(points)


def _common(face, head: Tensor) -> tuple[Tensor, Tensor]:
    """(n,) vertices of the head that are vertices of the patch too and count, and (n,) which they are.

    Head and patch are two levels of one subdivision, with limit positions: their common vertices coincide.
    """
    low, high = face.mean.amin(dim=0) - 1, face.mean.amax(dim=0) + 1
    near = ((head > low) & (head < high)).all(dim=1).nonzero()[:, 0]
    index, distance = _nearest(head[near], face.mean)
    same = (distance < 1e-2) & (face.weight[index] > 0)
    return near[same], index[same]


def _neighbour_means(triangles: Tensor, count: int) -> Tensor:
    """(Vh, Vh) sparse: half of a vertex, half the mean of its neighbours."""
    pairs = torch.cat([triangles[:, [a, b]] for a, b in ((0, 1), (1, 2), (2, 0), (1, 0), (2, 1), (0, 2))])
    pairs = torch.unique(pairs, dim=0)
    degree = torch.bincount(pairs[:, 0], minlength=count).clamp(min=1)
    own = torch.arange(count, device=pairs.device)
    rows, columns = torch.cat((pairs[:, 0], own)), torch.cat((pairs[:, 1], own))
    values = torch.cat((0.5 / degree[pairs[:, 0]], torch.full_like(own, 0.5, dtype=torch.float32)))
    matrix = torch.sparse_coo_tensor(torch.stack((rows, columns)), values, (count, count)).coalesce()
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls its CSR support beta on stderr
        return matrix.to_sparse_csr()
