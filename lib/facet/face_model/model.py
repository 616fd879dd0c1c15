"""The face model in use: linear shapes on a coarse head, seen on one limit surface.

    S = S̄ + A_id α_id + A_exp α_exp   (Blanz & Vetter 1999; TwoView eq. 2.6)

Everything is in the model frame: millimetres, x to the subject's left, y up, z out of the face,
right-handed; the origin is the centroid of the person's neutral face patch. Triangles run counter-clockwise
seen from outside.
"""

from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

PARTS = ("skin", "eye_left", "eye_right", "eye_cavity", "mouth", "tongue", "body")


@dataclass
class FaceModel:
    """Shapes, triangles, UV and landmarks of the face patch, and the whole head for rendering.

    Attributes:
        triangles: (F, 3) of the face patch; uv: (V, 2) in [0, 1], u to the subject's left, v down from the
            forehead.
        triangle_part: (F,) 0 skin, 1 bridge across an eye opening, 2 membrane between the lips.
        landmarks: (68,) vertex indices, iBUG order; mirror: (V,) mirror partners; weight: (V,) 16 at
            landmarks, else 4, 3 or 0 (see `uv_weight`).
        mean: (V, 3) the mean face; identity_modes: how many modes the model proper has (more, up to
            `detail_modes`, describe held-out people exactly); share: (detail_modes,) variance shares.
        expression_names: the 52 named expressions.
        head_triangles: (Fh, 3) of the head for rendering; head_part: (Fh,) index into PARTS; head_uv:
            (Fh, 3, 2) in MakeHuman's layout, v up; head_rest: (Vh, 3) the reference head in its own frame,
            the place to paint by.
    """

    coarse_mean: Tensor
    identity: Tensor
    expression: Tensor
    face_matrix: Tensor
    head_matrix: Tensor
    triangles: Tensor
    triangle_part: Tensor
    uv: Tensor
    landmarks: Tensor
    mirror: Tensor
    weight: Tensor
    share: Tensor
    head_triangles: Tensor
    head_part: Tensor
    head_uv: Tensor
    head_rest: Tensor
    expression_names: tuple[str, ...]
    identity_modes: int
    mean: Tensor = field(init=False)

    def __post_init__(self):
        self.mean = self._limit(self.face_matrix, self.coarse_mean[None])[0]

    @property
    def rim(self) -> Tensor:
        """(R,) vertices on the patch's boundary: where it is deepest, but for a cheek in some profiles."""
        return ((self.uv < 1e-6) | (self.uv > 1 - 1e-6)).any(dim=1).nonzero()[:, 0]

    @property
    def detail_modes(self) -> int:
        return len(self.identity)

    @property
    def device(self) -> torch.device:
        return self.coarse_mean.device

    def coarse(self, alpha_id: Tensor, alpha_exp: Tensor | None = None) -> Tensor:
        """(B, Vc, 3) coarse heads.

        Args:
            alpha_id: (B, K) in standard deviations, K ≤ detail_modes.
            alpha_exp: (B, 52) in full strengths.

        Raises:
            ValueError: the two batches differ in size, or there are more coefficients than modes.
        """
        count = alpha_id.shape[1]
        if count > len(self.identity):
            raise ValueError(f"{count} identity coefficients for a model of {len(self.identity)} modes.")
        if alpha_exp is not None and len(alpha_exp) != len(alpha_id):
            raise ValueError(f"{len(alpha_id)} identities but {len(alpha_exp)} expressions.")
        flat = self.coarse_mean.reshape(-1) + alpha_id @ self.identity[:count].flatten(1)
        if alpha_exp is not None:
            flat = flat + alpha_exp @ self.expression.flatten(1)
        return flat.view(len(alpha_id), -1, 3)

    def blend(self, alpha_id: Tensor, alpha_exp: Tensor | None = None) -> Tensor:
        """(B, V, 3) face-patch vertices, millimetres (see `coarse` for the coefficients)."""
        return self._limit(self.face_matrix, self.coarse(alpha_id, alpha_exp))

    def blend_head(self, alpha_id: Tensor, alpha_exp: Tensor | None = None) -> Tensor:
        """(B, Vh, 3) whole heads for rendering: level 1 of the same limit surface as `blend`."""
        return self.head_of(self.coarse(alpha_id, alpha_exp))

    def head_of(self, coarse: Tensor) -> Tensor:
        """(B, Vh, C) values at the head's vertices of (B, Vc, C) values at the coarse head's."""
        return self._limit(self.head_matrix, coarse)

    def blend_both(self, alpha_id: Tensor, alpha_exp: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(`blend`, `blend_head`) at the price of one blend."""
        coarse = self.coarse(alpha_id, alpha_exp)
        return self._limit(self.face_matrix, coarse), self._limit(self.head_matrix, coarse)

    def uv_weight(self, size: int) -> Tensor:
        """(size, size) weight mask 16 : 4 : 3 : 0.

        For landmarks, eyes, nose and mouth, the rest of the face, neck and lip membrane.
        """
        from facet.face_model.position_map import texel_weights

        return texel_weights(self, size)

    def interior(self, size: int) -> Tensor:
        """(size, size) bool: texels that count in the loss and in every score."""
        return self.uv_weight(size) > 0

    def to(self, device) -> "FaceModel":
        """The model on another device."""
        values = {k: v for k, v in self.__dict__.items() if k != "mean"}
        return FaceModel(**{k: v.to(device) if isinstance(v, Tensor) else v for k, v in values.items()})

    @staticmethod
    def _limit(matrix: Tensor, coarse: Tensor) -> Tensor:
        batch, count, channels = coarse.shape
        fine = torch.sparse.mm(matrix, coarse.permute(1, 0, 2).reshape(count, batch * channels))
        return fine.view(-1, batch, channels).permute(1, 0, 2).contiguous()


def load(device: str | torch.device = "cpu", path: str | Path | None = None) -> FaceModel:
    """Load the face model from data/cache; build it first (some minutes, needs `anny`) where it is missing.

    Raises:
        ValueError: the file is truncated or not a face model.
    """
    from safetensors import SafetensorError, safe_open

    from facet.face_model import files as cache

    path = Path(path) if path else cache.ensure().model
    try:
        with safe_open(path, "pt") as handle:
            metadata = cache.read_notes(handle)
            tensors = {key: handle.get_tensor(key) for key in handle.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ValueError(
            f"{path.name} cannot be read ({error}): delete it and run `facet data build`."
        ) from None
    if missing := {"triangles", "mean", "identity", "expression"} - set(tensors):
        raise ValueError(f"{path.name} is no face model (no {min(missing)} in it).")
    long = {
        k: tensors[k].long()
        for k in ("triangles", "landmarks", "mirror", "head_triangles", "head_part", "triangle_part")
    }
    model = FaceModel(
        coarse_mean=tensors["mean"],
        identity=tensors["identity"].float(),
        expression=tensors["expression"].float(),
        face_matrix=_csr(tensors, "face_matrix", len(tensors["mean"])),
        head_matrix=_csr(tensors, "head_matrix", len(tensors["mean"])),
        expression_names=tuple(metadata["expressions"].split("\n")),
        identity_modes=int(metadata["modes"]),
        **long,
        **{k: tensors[k] for k in ("uv", "weight", "share", "head_uv", "head_rest")},
    )
    return model.to(device) if str(device) != "cpu" else model


def _csr(tensors: dict, name: str, columns: int) -> Tensor:
    rows = tensors[f"{name}.rows"].long()
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls its CSR support beta on stderr
        return torch.sparse_csr_tensor(
            rows, tensors[f"{name}.columns"].long(), tensors[f"{name}.values"], (len(rows) - 1, columns)
        )
