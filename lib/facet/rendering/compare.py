"""Our rasteriser beside open3d's ray caster on the same mesh: agreement and speed in one run."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from facet.rendering.fragments import Fragments
from facet.rendering.rasteriser import rasterise


def compare_with_open3d(
    vertices: Tensor,
    triangles: Tensor,
    size: int | tuple[int, int],
    *,
    cull_backfaces: bool = False,
    repeats: int = 3,
) -> dict[str, float]:
    """Agreement with open3d's `RaycastingScene` on parallel rays through the pixel centres, and speed.

    Rays do not know of back faces, so open meshes are compared with `cull_backfaces` False; on closed ones
    either does. open3d runs on as many threads as torch.

    Args:
        vertices: (V, 3), image frame.
        triangles: (F, 3).
        size: H = W, or (H, W).
        repeats: each speed is the best of so many.

    Returns:
        same_triangle: share of the pixels covered in both where the triangle is the same;
        same_or_adjacent: the same or one with a common vertex;
        depth_error: largest |Δz| over those pixels, relative to the diagonal of the mesh's box;
        coverage_difference: pixels covered in only one, relative to all pixels of the image;
        silhouette_difference: the same, relative to the pixels covered in either;
        ours_ms, ours_images_per_second: of the rasteriser;
        open3d_ms, open3d_images_per_second: with building the scene, which every new mesh needs;
        open3d_rays_ms: its rays alone;
        threads, pixels, triangles.
    """
    size = (size, size) if isinstance(size, int) else size
    ours_ms, fragments = _best(
        repeats, lambda: rasterise(vertices[None], triangles, size, cull_backfaces=cull_backfaces)
    )
    rays = parallel_rays(size, float(vertices[:, 2].max()) + 1)
    threads = torch.get_num_threads()
    build_ms, scene = _best(repeats, lambda: ray_scene(vertices, triangles))
    rays_ms, hits = _best(repeats, lambda: scene.cast_rays(_tensor(rays), nthreads=threads))
    theirs = hits["primitive_ids"].numpy().astype(np.int64)
    theirs[theirs == 0xFFFFFFFF] = -1
    depth = rays[..., 2] - hits["t_hit"].numpy()
    result = agreement(fragments, torch.from_numpy(theirs), torch.from_numpy(depth), vertices, triangles)
    return result | {
        "ours_ms": ours_ms,
        "open3d_ms": build_ms + rays_ms,
        "open3d_rays_ms": rays_ms,
        "ours_images_per_second": 1e3 / ours_ms,
        "open3d_images_per_second": 1e3 / (build_ms + rays_ms),
        "threads": threads,
        "pixels": size[0] * size[1],
        "triangles": len(triangles),
    }


def comparison_table(
    views: Mapping[str, Tensor], triangles: Tensor, size: int | tuple[int, int], *, repeats: int = 3
) -> list[dict[str, float | str]]:
    """One row a view: the worst agreement over its meshes, and both speeds over all of them in the same run.

    Args:
        views: name → (B, V, 3) meshes in the image frame.
        triangles: (F, 3).
        size: H = W, or (H, W).
        repeats: each speed is the best of so many.

    Returns:
        rows with the columns of `compare_with_open3d`, `view` and `meshes`; times are means.
    """
    rows = []
    first = next(iter(views.values()))[0]
    compare_with_open3d(first, triangles, size, repeats=1)  # imports and first calls are not what is timed
    for name, meshes in views.items():
        results = [compare_with_open3d(mesh, triangles, size, repeats=repeats) for mesh in meshes]
        row = {"view": name, "meshes": len(meshes)} | results[0]
        for key in ("same_triangle", "same_or_adjacent"):
            row[key] = min(result[key] for result in results)
        for key in ("depth_error", "coverage_difference", "silhouette_difference"):
            row[key] = max(result[key] for result in results)
        for key in ("ours_ms", "open3d_ms", "open3d_rays_ms"):
            row[key] = sum(result[key] for result in results) / len(results)
        for key in ("ours", "open3d"):
            row[f"{key}_images_per_second"] = 1e3 / row[f"{key}_ms"]
        rows.append(row)
    return rows


def agreement(
    fragments: Fragments, triangle: Tensor, depth: Tensor, vertices: Tensor, triangles: Tensor
) -> dict[str, float]:
    """How far one image of fragments agrees with triangle (H, W) and depth (H, W) from elsewhere."""
    ours, mask = fragments.triangle[0].cpu(), fragments.mask[0].cpu()
    both, either = mask & (triangle >= 0), mask | (triangle >= 0)
    corners = triangles.cpu()
    a, b = corners[ours[both]], corners[triangle[both]]  # (N, 3)
    adjacent = (a[:, :, None] == b[:, None, :]).any(2).any(1)
    diagonal = float((vertices.amax(0) - vertices.amin(0)).norm())
    error = (fragments.depth[0].cpu()[both] - depth[both]).abs()[adjacent] / diagonal
    different = int((either & ~both).sum())
    return {
        "same_triangle": float((ours[both] == triangle[both]).double().mean()),
        "same_or_adjacent": float(adjacent.double().mean()),
        "depth_error": float(error.max()),
        "coverage_difference": different / mask.numel(),
        "silhouette_difference": different / max(1, int(either.sum())),
    }


def parallel_rays(size: tuple[int, int], z: float) -> np.ndarray:
    """(H, W, 6) float32 origins at the pixel centres in the plane z, directions into the image."""
    y, x = np.mgrid[: size[0], : size[1]].astype(np.float32)
    fixed = [np.full_like(x, value) for value in (z, 0.0, 0.0, -1.0)]
    return np.stack([x, y, *fixed], -1)


def ray_scene(vertices: Tensor, triangles: Tensor) -> object:
    """An open3d `RaycastingScene` with one mesh, ready to cast (the tree is built by the first ray)."""
    import open3d

    scene = open3d.t.geometry.RaycastingScene(nthreads=torch.get_num_threads())
    scene.add_triangles(_tensor(vertices.detach().cpu().float().numpy()), _tensor(triangles.cpu().numpy()))
    scene.cast_rays(_tensor(np.zeros((1, 6), np.float32)), nthreads=1)
    return scene


def _tensor(array: np.ndarray) -> object:
    import open3d

    if array.dtype == np.int64:
        array = array.astype(np.uint32)
    return open3d.core.Tensor(np.ascontiguousarray(array))


def _best(repeats: int, function: Callable[[], object]) -> tuple[float, object]:
    """The shortest of some timings in milliseconds, and the last result."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        result = function()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(1e3 * (time.perf_counter() - start))
    return min(times), result
