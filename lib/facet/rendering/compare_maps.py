"""Position maps as one matrix product beside maps rasterised in UV space: agreement and speed in one run."""

import torch
from torch import Tensor

from facet.face_model import FaceModel, sampler
from facet.geometry import model_to_image, transform_points
from facet.rendering.compare import _best
from facet.rendering.interpolation import map_from_mesh


def compare_maps(
    model: FaceModel, size: int, *, batch: int, generator: torch.Generator, repeats: int = 3
) -> dict[str, float]:
    """Maps of `batch` random people in random poses, both ways from the same coefficients.

    The rasterised way blends the vertices, moves them and rasterises the patch in UV space, once for the
    whole batch. Each time is the best of `repeats`.

    Returns:
        error_999 and error_max: the 99.9 % quantile and the largest distance in pixels over the texels that
        count; product_ms and rasterised_ms a map; times_faster; size, batch, threads.
    """
    alpha = torch.randn(batch, model.identity_modes, generator=generator)
    expression = 0.3 * torch.rand(batch, len(model.expression_names), generator=generator)
    pose = (torch.rand(3, batch, generator=generator) * 2 - 1) * torch.tensor([[90.0], [20.0], [20.0]])
    cameras = model_to_image(*pose, size / 211, torch.full((batch, 2), (size - 1) / 2))
    ours = sampler(model, size)

    def rasterised() -> Tensor:
        points = transform_points(cameras, model.blend(alpha, expression))
        points = torch.cat(
            [points[..., :2], points[..., 2:] - points[..., 2:].amin(dim=1, keepdim=True)], dim=-1
        )
        return map_from_mesh(points, model.uv, model.triangles, size)

    fast, product = _best(repeats, lambda: ours.map(alpha, expression, cameras))
    slow, reference = _best(repeats, rasterised)
    error = (product - reference).norm(dim=1)[:, model.interior(size)].flatten().sort().values
    return {
        "size": size,
        "batch": batch,
        "error_999": float(error[int(0.999 * (len(error) - 1))]),
        "error_max": float(error[-1]),
        "product_ms": fast / batch,
        "rasterised_ms": slow / batch,
        "times_faster": slow / fast,
        "threads": torch.get_num_threads(),
    }
