"""The packed file of the eyes: irises of MakeHuman's textures, and how much of its surrounding a head sees.

`python -m facet.synthetic.eye_assets` writes data/cache/eyes.safetensors, in some seconds.
"""

import sys
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from facet import paths
from facet.face_model import PARTS, FaceModel, load
from facet.files import write_beside
from facet.rendering.normals import vertex_normals
from facet.synthetic.eyes import NAMES, RINGS, SPOKES, plain_irises


def pack(model: FaceModel, *, say=print) -> dict[str, Tensor]:
    """What `open_eyes` reads: irises of the downloaded MakeHuman eyes, and ambient occlusion (open3d)."""
    found = sorted(paths.RAW.glob("**/eyes/HighPolyEyes/textures/*_eye.png"))
    if not found:
        say("no MakeHuman eyes under data/raw (npm absent?): painting plain irises")
    iris = torch.stack([_unroll(path) for path in found]) if found else plain_irises()
    return {"iris": iris, "occlusion": (ambient_occlusion(model) * 255).round().byte()}


def _unroll(path: Path) -> Tensor:
    """(3, RINGS, SPOKES) uint8 iris of an eye texture over its mean colour, 127.5 where they agree."""
    import numpy as np
    from PIL import Image

    picture = Image.open(path).convert("RGB").resize((512, 512))
    pixels = torch.from_numpy(np.asarray(picture, np.float32).copy())
    linear = (pixels / 255).permute(2, 0, 1)[None] ** 2.2
    middle = torch.tensor([150.0, 360.0])  # the lower left eyeball's
    away = torch.arange(512.0)
    for _ in range(3):  # the pupil is the dark disk there
        near = ((away - middle[0]).square() + (away[:, None] - middle[1]).square()) < 26**2
        dark = (near & (pixels.amax(2) < 30)).nonzero().float()
        middle = dark.mean(0).flip(0)
    pupil = (len(dark) / torch.pi) ** 0.5
    angle = torch.arange(SPOKES) * (2 * torch.pi / SPOKES)
    radius = pupil + 1 + (57 - pupil) * (torch.arange(RINGS) + 0.5)[:, None] / RINGS
    at = torch.stack([middle[0] + radius * angle.cos(), middle[1] - radius * angle.sin()], dim=2)
    polar = functional.grid_sample(linear, (at / 255.5 - 1)[None], align_corners=True)[0]
    bright = polar.mean(0, keepdim=True)
    share = bright / bright.mean() * 0.65 + 0.35 * polar / polar.mean((1, 2), keepdim=True)
    share = share.clamp(0.25, 2.0)
    return (share / share.mean((1, 2), keepdim=True) * 127.5).round().clamp(0, 255).byte()


def ambient_occlusion(model: FaceModel, *, rays: int = 128) -> Tensor:
    """(Vh,) share of the surrounding, weighted by the cosine, that each vertex of the reference head sees.

    Lids close and jaws open, so a vertex sees what it sees at rest or, a little less bright, with its mouth
    open or its eyes shut, whichever is more. Eyeballs see all: `eye_colour` knows where the lids are. A chest
    below what the face model has of it hides the ground from chin and neck.
    """
    chest, faces = _chest()
    names = model.expression_names
    alpha = torch.zeros(3, len(names))
    alpha[1, names.index("jawOpen")] = 0.6
    alpha[2, [names.index("eyeBlinkLeft"), names.index("eyeBlinkRight")]] = 1.0
    moved = torch.einsum("ek,kvc->evc", alpha, model.expression.cpu().float())
    best = torch.zeros(len(model.head_rest))
    for k, brightness in enumerate((1.0, 0.85, 0.85)):
        head = model.head_rest.cpu() + torch.sparse.mm(model.head_matrix.cpu(), moved[k])
        triangles = torch.cat([model.head_triangles.cpu(), faces + len(head)])
        seen = _visibility(torch.cat([head, chest]), triangles, rays)[: len(head)]
        best = torch.maximum(best, brightness * seen)
    part = model.head_part.cpu()
    for name in NAMES:
        best[model.head_triangles.cpu()[part == PARTS.index(name)]] = 1.0
    return best


def _chest() -> tuple[Tensor, Tensor]:
    """Vertices and triangles of an ellipsoid where the reference head's chest would be."""
    import open3d

    ball = open3d.t.geometry.TriangleMesh.create_sphere(1.0, 24)
    vertices = torch.from_numpy(ball.vertex.positions.numpy()).float()
    vertices = vertices * torch.tensor([200.0, 200.0, 115.0]) + torch.tensor([0.0, -352.0, -25.0])
    return vertices, torch.from_numpy(ball.triangle.indices.numpy()).long()


def _visibility(head: Tensor, triangles: Tensor, rays: int) -> Tensor:
    """(V,) share of cosine-weighted rays that leave a mesh (V, 3) and meet nothing."""
    import numpy as np
    import open3d

    scene = open3d.t.geometry.RaycastingScene(nthreads=1)
    scene.add_triangles(head.numpy().astype(np.float32), triangles.numpy().astype(np.uint32))
    normals = vertex_normals(head[None], triangles, frame="model")[0]
    step = torch.arange(rays) + 0.5
    radius, angle = (step / rays).sqrt(), step * torch.pi * (3 - 5**0.5)  # a sunflower on the disk
    helper = torch.eye(3)[normals.abs().argmin(dim=1)]
    across = functional.normalize(torch.linalg.cross(helper, normals), dim=1)
    frame = torch.stack([across, torch.linalg.cross(normals, across), normals], dim=1)  # (V, 3, 3)
    local = torch.stack([radius * angle.cos(), radius * angle.sin(), (1 - radius**2).sqrt()], dim=1)
    directions = local @ frame  # (V, rays, 3)
    origins = (head + 0.3 * normals)[:, None].expand_as(directions)
    hits = scene.test_occlusions(open3d.core.Tensor(torch.cat([origins, directions], 2).numpy()), nthreads=1)
    return 1 - torch.from_numpy(hits.numpy()).float().mean(1)


def where() -> Path:
    """The packed eyes, whether the file exists or not."""
    return paths.CACHE / "eyes.safetensors"


def ensure(say=None) -> Path:
    """The packed eyes, made first where they are missing; `say` is told.

    Raises:
        ValueError: they are missing, and open3d is not installed to make them.
    """
    from safetensors.torch import save_file

    if not where().is_file():
        try:
            packed = pack(load(), say=say or (lambda text: None))
        except ImportError as error:
            raise ValueError(
                f"data/cache/eyes.safetensors is missing and cannot be made here ({error}): carry it along "
                "from a machine that has open3d."
            ) from None
        with write_beside(where()) as temporary:
            save_file(packed, temporary)
    return where()


def main(say=print) -> int:
    """Make the packed file (`python -m facet.synthetic.eye_assets`)."""
    say("  eyes: irises, and what the head hides from light", flush=True)
    ensure(say)
    return 0


if __name__ == "__main__":
    sys.exit(main())
