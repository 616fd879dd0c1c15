"""What people wear on their heads: hair, beards, brows, lashes, teeth, glasses and hats as extra meshes.

The items come from `facet.face_model.wearables`. An `Outfit` says who wears which, in which colours; `dress`
puts them on a batch of heads; `colour_of` paints them. All of it follows the coarse head with its expression:
brows and beards go with the face, lashes with the lids, lower teeth with the jaw, hair with the skull.
"""

import io
import json
from dataclasses import dataclass

import torch
from torch import Tensor

from facet.face_model import files as cache
from facet.face_model import wearables
from facet.face_model.binding import Frame, follow
from facet.face_model.proxies import TOP
from facet.face_model.wearables import KINDS
from facet.rendering.interpolation import rows_of
from facet.synthetic.outfits import Outfit, draw_outfit

__all__ = ["Dressed", "Outfit", "Wardrobe", "colour_of", "draw_outfit", "dress", "shade_on_head"]

HAIR, TEETH = KINDS.index("hair"), KINDS.index("teeth")
SHOWS, WIDE = 1.5, 14.0  # mm between the lips from which teeth are there at all, and are fully lit
TUCKED = 0.1  # of its distance from the scalp is left of hair under a hat


@dataclass
class Dressed:
    """Extra meshes on B heads, padded to the longest.

    Attributes:
        vertices: (B, V, 3) mm, model frame; triangles: (B, F, 3) int64 of the person's own vertices.
        corner_uv: (B, F, 3, 2) u right, v down; item: (B, F) int64. Padding is (0, 0, 0) and −1.
        normals, strands: (B, V, 3) unit normals and directions of hair; occlusion: (B, V) share of the
            surrounding that is seen through hair and head.
    """

    vertices: Tensor
    triangles: Tensor
    corner_uv: Tensor
    item: Tensor
    normals: Tensor
    strands: Tensor
    occlusion: Tensor


@dataclass
class Wardrobe:
    """I items; their vertices and triangles lie one after another in shared tables.

    Attributes:
        names: (I) names; kind: (I,) index into KINDS; hat: (I,) number among the hats, −1 for the rest.
        vertices, triangles: (2, I) first row and count in the tables.
        bound: name → table of vertices: references, weights, offsets, turns, uv, normals, strands, occlusion
            and tucked (see `facet.face_model.fitting.Fitted`); corners: (·, 3) local to the item.
        shade: (I, V) share of the surrounding that an item leaves each coarse vertex of the head.
        frame: for binding; None without items.
        texture: (I,) which one an item has; textures: (T, S, S, 3) uint8 grey, tint, alpha.
    """

    names: tuple[str, ...]
    kind: Tensor
    hat: Tensor
    vertices: Tensor
    triangles: Tensor
    bound: dict[str, Tensor]
    corners: Tensor
    shade: Tensor
    frame: Frame | None
    texture: Tensor
    textures: Tensor

    @classmethod
    def open(cls, device: str | torch.device = "cpu") -> "Wardrobe":
        """Load the cached items; build them first where they are missing."""
        from safetensors import safe_open

        with safe_open(wearables.ensure(), "pt") as handle:
            listed = json.loads(cache.read_notes(handle)["items"])
            stored = {name: handle.get_tensor(name).to(device) for name in handle.keys()}  # noqa: SIM118
        return _unpack(listed, stored) if listed else _empty(stored["shade"])

    def __len__(self) -> int:
        return len(self.names)

    def of_kind(self, kind: str) -> tuple[str, ...]:
        """Names of the items of a kind."""
        number = KINDS.index(kind)
        return tuple(n for n, k in zip(self.names, self.kind.tolist(), strict=True) if k == number)

    def number(self, name: str) -> int:
        """An item's number; −1 for a name that is not here."""
        return self.names.index(name) if name in self.names else -1

    def alpha(self, item: Tensor, uv: Tensor) -> Tensor:
        """(N,) coverage at points of items: item (N,), uv (N, 2)."""
        covers = self.textures.view(-1)
        return covers.index_select(0, 3 * self.texel(item, uv) + 2).to(uv.dtype) / 255

    def texel(self, item: Tensor, uv: Tensor) -> Tensor:
        """(N,) row of the flattened textures: one of the four around each point, by a hash of its place.

        A nearer one is likelier, so the mean over samples is what bilinear interpolation gives.
        """
        size = self.textures.shape[1]
        place = uv * size
        chance = (place * place.new_tensor([61.7, 53.3])).frac_()
        place = (place - 0.5).add_(chance).floor_().clamp_(0, size - 1)
        column, row = place.to(torch.int64).unbind(1)
        return (self.texture.index_select(0, item) * size + row) * size + column


def colour_of(
    wardrobe: Wardrobe, outfit: Outfit, image: Tensor, item: Tensor, uv: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Linear albedo (N, 3), stored column by column, alpha (N,) and gloss (N,) at points of worn items.

    Args:
        image: (N,) row of the outfit; item: (N,) number; uv: (N, 2).
    """
    texels = wardrobe.textures.view(-1, 3).index_select(0, wardrobe.texel(item, uv))
    grey, tint, alpha = (texels.to(uv.dtype) / 255).mT.contiguous()
    first, second, gloss = outfit.palette()
    row = image * len(KINDS) + wardrobe.kind.index_select(0, item)
    tone, accent = (rows_of(colours.view(-1, 3), row) for colours in (first, second))
    colour = torch.lerp(tone, accent, tint[:, None])
    return colour * (TOP * grey[:, None]), alpha, gloss.view(-1).index_select(0, row)


@torch.no_grad()
def dress(wardrobe: Wardrobe, outfit: Outfit, coarse: Tensor) -> Dressed:
    """Put outfits on coarse heads (B, V, 3) of the model frame, expression included."""
    batch, device = len(coarse), coarse.device
    worn = outfit.worn()  # (B, kinds)
    apart = wardrobe.frame.gap(coarse) if len(wardrobe) else coarse.new_zeros(batch)
    worn[:, TEETH] = torch.where(apart > SHOWS, worn[:, TEETH], -1)
    image, slot = (worn >= 0).nonzero(as_tuple=True)
    item = worn[image, slot]
    vertices = _spread(image, wardrobe.vertices[:, item], batch)
    triangles = _spread(image, wardrobe.triangles[:, item], batch)
    tables = {name: table.index_select(0, vertices.source) for name, table in wardrobe.bound.items()}
    if len(item):
        places = _places(wardrobe, outfit, coarse, image[vertices.piece], slot[vertices.piece], tables)
    else:
        places = coarse.new_zeros(0, 3)
    flipped = outfit.mirrored[image] & (slot == HAIR)
    flip = torch.where(flipped[vertices.piece, None], coarse.new_tensor([-1.0, 1.0, 1.0]), 1.0)
    corners = wardrobe.corners.index_select(0, triangles.source)
    corners = torch.where(flipped[triangles.piece, None], corners.flip(1), corners)
    local = corners + vertices.start[triangles.piece, None]
    rows = (local + (image[triangles.piece] * vertices.width)[:, None]).view(-1)
    uv = vertices.fill(tables["uv"]).view(-1, 2).index_select(0, rows).view(-1, 3, 2)
    wide = ((apart - SHOWS) / (WIDE - SHOWS)).clamp(0.15, 1)[image]  # a mouth ajar is dark inside
    light = torch.where(slot == TEETH, wide, 1.0)[vertices.piece]
    everything = torch.full((batch * triangles.width,), -1, device=device)
    everything[triangles.target] = item[triangles.piece]
    return Dressed(
        vertices=vertices.fill(places),
        triangles=triangles.fill(local),
        corner_uv=triangles.fill(uv),
        item=everything.view(batch, -1),
        normals=vertices.fill(tables["normals"] * flip),
        strands=vertices.fill(tables["strands"] * flip),
        occlusion=vertices.fill(tables["occlusion"] * light),
    )


def shade_on_head(wardrobe: Wardrobe, outfit: Outfit) -> Tensor:
    """(B, V) share of the surrounding that hair, beard and hat leave each coarse vertex of the head."""
    worn = outfit.worn()
    share = torch.ones(len(worn), wardrobe.shade.shape[1], device=worn.device)
    for slot, kind in enumerate(KINDS):
        some = (worn[:, slot] >= 0).nonzero()[:, 0]
        if kind in ("hair", "beard", "hat") and len(some):
            shade = wardrobe.shade[worn[some, slot]].float() / 255
            if kind == "hair":
                mirror = wardrobe.frame.mirror[: shade.shape[1]]
                shade = torch.where(outfit.mirrored[some, None], shade[:, mirror], shade)
            share[some] *= shade
    return share


def _places(
    wardrobe: Wardrobe, outfit: Outfit, coarse: Tensor, image: Tensor, slot: Tensor, tables: dict
) -> Tensor:
    """(N, 3) places of vertices of B heads: image, slot (N,), tables' rows (N, ·)."""
    frame = wardrobe.frame
    points = frame.points(coarse)
    hair = slot == HAIR
    flipped = outfit.mirrored[image] & hair
    references = torch.where(flipped[:, None], frame.mirror[tables["references"]], tables["references"])
    hat = torch.where(outfit.hat >= 0, wardrobe.hat[outfit.hat], -1)[image]
    under = hair & (hat >= 0) & ((tables["tucked"] >> hat.clamp(min=0)) & 1).bool()
    length = torch.where(under, TUCKED, outfit.lengths()[image, slot])
    offsets = tables["offsets"] * length[:, None]
    offsets = torch.where(flipped[:, None], offsets * offsets.new_tensor([-1.0, 1.0, 1.0]), offsets)
    references = references + (image * points.shape[1])[:, None]
    scale = frame.scale(coarse)[image]
    return follow(points.view(-1, 3), references, tables["weights"], offsets, tables["turns"], scale)


@dataclass
class _Pieces:
    """Rows of P pieces of a table, laid out in padded images.

    Attributes:
        source: (N,) row of the table; piece: (N,); target: (N,) row of the flattened (B · width).
        start: (P,) first row of a piece in its image; width: rows an image; batch: images.
    """

    source: Tensor
    piece: Tensor
    target: Tensor
    start: Tensor
    width: int
    batch: int

    def fill(self, values: Tensor) -> Tensor:
        """(B, width, …) of values (N, …), zero where padded."""
        empty = values.new_zeros(self.batch * self.width, *values.shape[1:])
        return empty.index_copy_(0, self.target, values).view(self.batch, self.width, *values.shape[1:])


def _spread(image: Tensor, rows: Tensor, batch: int) -> _Pieces:
    """Pieces (first row and count, (2, P)) of images (P,), ascending, one after another in each."""
    first, count = rows
    total = torch.zeros(batch, dtype=torch.int64, device=count.device).index_add_(0, image, count)
    ends = count.cumsum(0)
    start = ends - count - (total.cumsum(0) - total)[image]
    piece = torch.repeat_interleave(count)
    within = torch.arange(len(piece), device=count.device) - (ends - count)[piece]
    width = int(total.max()) if batch else 0
    target = image[piece] * width + start[piece] + within
    return _Pieces(first[piece] + within, piece, target, start, width, batch)


def _unpack(listed: list, stored: dict[str, Tensor]) -> Wardrobe:
    device = stored["uv"].device
    names, kinds = zip(*listed, strict=True)
    kind = torch.tensor([KINDS.index(k) for k in kinds], device=device)
    is_hat = kind == KINDS.index("hat")
    counts = [stored[name] for name in ("vertices_of", "triangles_of")]
    vertices, triangles = (torch.stack([n.cumsum(0) - n, n]) for n in counts)
    factors = {"normals": 127, "strands": 127, "occlusion": 255}
    bound = {n: stored[n].float() / factors.get(n, 1) for n in ("offsets", "uv", *factors)}
    two = stored["weights"].float()
    bound["weights"] = torch.cat([two, 1 - two.sum(dim=1, keepdim=True)], dim=1)
    bound |= {"references": stored["references"].long(), "tucked": stored["tucked"].long()}
    bound["turns"] = stored["turns"].repeat_interleave(counts[0])
    whole = {n: stored[n].long() for n in ("ends", "anchor_rows", "mirror", "lips")}
    frame = Frame(extent=stored["extent"], anchor_weights=stored["anchor_weights"].float(), **whole)
    images = _decode(stored["textures"].cpu(), stored["texture_ends"].tolist()).to(device)
    return Wardrobe(
        names=names,
        kind=kind,
        hat=torch.where(is_hat, is_hat.cumsum(0) - 1, -1),
        vertices=vertices,
        triangles=triangles,
        bound=bound,
        corners=stored["triangles"].long(),
        shade=stored["shade"],
        frame=frame,
        texture=stored["texture_of"],
        textures=images,
    )


def _decode(blob: Tensor, ends: list[int]) -> Tensor:
    """(T, S, S, 3) uint8 textures of PNGs one after another."""
    import numpy as np
    from PIL import Image

    raw, images = blob.numpy().tobytes(), []
    for start, end in zip([0, *ends], ends, strict=False):
        pixels = np.asarray(Image.open(io.BytesIO(raw[start:end])).convert("RGB"))
        images.append(torch.from_numpy(pixels.copy()))
    return torch.stack(images)


def _empty(shade: Tensor) -> Wardrobe:
    """The wardrobe without items; shade: (0, V)."""

    def none(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        return torch.zeros(*shape, dtype=dtype, device=shade.device)

    long = {"dtype": torch.int64}
    bound = {"references": none(0, 3, **long), "tucked": none(0, **long), "turns": none(0, dtype=torch.bool)}
    bound |= {name: none(0, 3) for name in ("weights", "offsets", "normals", "strands")}
    bound |= {"uv": none(0, 2), "occlusion": none(0)}
    return Wardrobe(
        (), none(0, **long), none(0, **long), none(2, 0, **long), none(2, 0, **long), bound,
        none(0, 3, **long), shade, None, none(0, **long), none(1, 1, 1, 3, dtype=torch.uint8),
    )  # fmt: skip
