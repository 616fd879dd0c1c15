"""What the soft rasteriser can do, measured: gradients against differences, a pose found again, its price."""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch
from torch import Tensor

from facet.coefficients.losses import CoefficientLoss
from facet.coefficients.renderer import FaceRenderer
from facet.geometry import angle_between, rotation_matrix
from facet.networks.layout import Coefficients, Layout
from facet.rendering import interpolate, rasterise
from facet.rendering.soft import soft_rasterise

STEP = 1e-6  # of the central differences, in double precision


def gradient_errors(renderer: FaceRenderer, layout: Layout, *, size: int = 32, seed: int = 0) -> list[dict]:
    """Analytic slopes of a stitched picture's error against central differences, in double precision.

    For positions and colours of the vertices and for each kind of coefficient: along the gradient itself and
    along random directions, of a random face before a random photo.

    Returns:
        Rows with what, numbers (how many), directions, error (the largest difference of the slopes, divided
        by the gradient's norm: by the steepest slope there is).
    """
    generator = torch.Generator().manual_seed(seed)
    exact = renderer.to(torch.float64)
    numbers = 0.5 * torch.randn(1, layout.total, generator=generator, dtype=torch.float64)
    photo = torch.rand(1, 3, size, size, generator=generator, dtype=torch.float64)
    loss = CoefficientLoss(exact, layout, 128)
    coefficients = layout.read(numbers)
    shape = exact.shape(coefficients)
    placed, colours = exact.place(coefficients, shape, size), exact.colours(coefficients, shape)

    def of_mesh(vertices: Tensor, attributes: Tensor) -> Tensor:
        picture = soft_rasterise(vertices, exact.face.shown, attributes, size, sigma=0.5, gamma=2.0)
        return loss.photo_error(picture, photo).sum()

    def of_numbers(values: Tensor) -> Tensor:
        picture = exact.picture(layout.read(values), size, sigma=0.5, gamma=2.0)
        return loss.photo_error(picture, photo).sum()

    rows = [
        {"what": "positions of the vertices", **_slopes(lambda v: of_mesh(v, colours), placed, generator)},
        {"what": "colours of the vertices", **_slopes(lambda c: of_mesh(placed, c), colours, generator)},
    ]
    ends = torch.tensor(layout.sizes).cumsum(0).tolist()
    for name, end, count in zip(
        ("identity", "expression", "texture", "light", "rotation", "translation"),
        ends,
        layout.sizes,
        strict=True,
    ):

        def changed(part: Tensor, start=end - count, stop=end) -> Tensor:
            return of_numbers(torch.cat((numbers[:, :start], part, numbers[:, stop:]), dim=1))

        rows.append({"what": name, **_slopes(changed, numbers[:, end - count : end], generator)})
    return rows


def _slopes(function, at: Tensor, generator: torch.Generator, directions: int = 4) -> dict:
    at = at.detach().clone().requires_grad_()
    gradient = torch.autograd.grad(function(at), at)[0]
    chosen = [gradient]
    chosen += [torch.randn(at.shape, generator=generator, dtype=at.dtype) for _ in range(directions - 1)]
    worst = 0.0
    with torch.no_grad():
        for direction in chosen:
            direction = direction / direction.norm()
            change = (function(at + STEP * direction) - function(at - STEP * direction)) / (2 * STEP)
            worst = max(worst, abs(float(change - (gradient * direction).sum())))
    return {"numbers": at.numel(), "directions": directions, "error": worst / float(gradient.norm())}


def recover_pose(
    renderer: FaceRenderer,
    true: Coefficients,
    start: Coefficients,
    *,
    soft: bool,
    size: int = 48,
    steps: int = 60,
    sigma: tuple[float, float] = (20.0, 0.2),
    rate: float = 0.08,
) -> tuple[list[dict], list[Tensor]]:
    """Rotation and translation found from a picture alone, by gradient descent on the squared difference.

    The hard picture is that of the z-buffer with the gradients that barycentrics have; the soft one begins
    blurred (σ falls geometrically) and ends sharp. Both are black where no face is.

    Returns:
        Rows with step, difference (root mean square), degrees (angle between the rotations), pixels (between
        the landmarks); and pictures (size, size, 3) at the start, a third, two thirds and the end.
    """

    def seen(coefficients: Coefficients, sharpness: float) -> Tensor:
        shape = renderer.shape(coefficients)
        placed, colours = renderer.place(coefficients, shape, size), renderer.colours(coefficients, shape)
        if soft:
            picture = soft_rasterise(
                placed, renderer.face.shown, colours, size, sigma=sharpness, gamma=max(0.5, sharpness)
            )
            return picture.over(placed.new_zeros(1, 3, size, size))[0].permute(1, 2, 0)
        fragments = rasterise(placed, renderer.face.shown, size)
        return interpolate(fragments, renderer.face.shown, colours)[0]

    angles = (start.angles / 20).clone().requires_grad_()
    shift = (start.translation / 20).clone().requires_grad_()
    optimiser = torch.optim.Adam([angles, shift], lr=rate)
    marks = renderer.landmarks(true, size)
    rows, pictures = [], []
    for step in range(steps + 1):
        sharpness = sigma[0] * (sigma[1] / sigma[0]) ** (step / steps)
        coefficients = start._replace(angles=20 * angles, translation=20 * shift)
        difference = (seen(coefficients, sharpness) - seen(true, sharpness).detach()).square().mean()
        apart = (renderer.landmarks(coefficients, size) - marks)[..., :2].norm(dim=2).mean()
        turns = (rotation_matrix(*answer.angles[0]) for answer in (coefficients, true))
        rows.append(
            {
                "step": step,
                "difference": difference.item() ** 0.5,
                "degrees": angle_between(*turns).item(),
                "pixels": apart.item(),
            }
        )
        if step in (0, steps // 3, 2 * steps // 3, steps):
            pictures.append(seen(coefficients, sharpness).detach())
        optimiser.zero_grad()
        difference.backward()
        optimiser.step()
    return rows, pictures


def speed(
    renderers: Sequence[FaceRenderer], sizes: Sequence[int], *, device: str = "cpu", repeats: int = 3
) -> list[dict]:
    """Forward and backward time of one picture, soft and hard, and the soft one's memory.

    Returns:
        Rows with size, triangles, rasteriser, forward, backward (best of the repeats, ms), memory (MiB kept
        between forward and backward).
    """
    rows = []
    for renderer in renderers:
        renderer = renderer.to(device)
        layout = Layout(0, renderer.face.expression.shape[0], 0)
        coefficients = layout.read(torch.zeros(1, layout.total, device=device))
        shape = renderer.shape(coefficients).detach()
        colours = renderer.colours(coefficients, shape).detach().requires_grad_()
        for size in sizes:
            placed = renderer.place(coefficients, shape, size).requires_grad_()
            for kind in ("hard", "soft"):
                times = [_timed(kind, renderer, placed, colours, size, device) for _ in range(repeats)]
                rows.append(
                    {
                        "size": size,
                        "triangles": len(renderer.face.shown),
                        "rasteriser": kind,
                        "forward": min(t[0] for t in times),
                        "backward": min(t[1] for t in times),
                        "memory": max(t[2] for t in times),
                    }
                )
    return rows


def _timed(kind: str, renderer: FaceRenderer, placed: Tensor, colours: Tensor, size: int, device: str):
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    began = _now(device)
    with torch.autograd.graph.saved_tensors_hooks(note, lambda t: t):
        if kind == "soft":
            picture = soft_rasterise(placed, renderer.face.shown, colours, size, sigma=0.1, gamma=1.0).colour
        else:
            fragments = rasterise(placed, renderer.face.shown, size)
            picture = interpolate(fragments, renderer.face.shown, colours)
    middle = _now(device)
    picture.sum().backward()
    return 1e3 * (middle - began), 1e3 * (_now(device) - middle), sum(kept.values()) / 2**20


def _now(device: str) -> float:
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter()


def recoveries(
    renderer: FaceRenderer,
    layout: Layout,
    *,
    starts: int = 4,
    away: float = 40.0,
    turned: float = 20.0,
    seed: int = 1,
) -> tuple[list[dict], dict[str, list[Tensor]]]:
    """`recover_pose` of the mean face from random wrong starts, with the soft and with the hard rasteriser.

    Args:
        away: mm that each start is shifted by, in a random direction of the image; turned: degrees, standard
            deviation of each angle.

    Returns:
        Rows with start, rasteriser, degrees and pixels before and after (of a picture of 32 pixels); and the
        pictures of the first start by rasteriser, the last one the target.
    """
    generator = torch.Generator().manual_seed(seed)
    true = layout.read(torch.zeros(1, layout.total))
    rows, pictures = [], {}
    for number in range(starts):
        turn, shift = torch.randn(3, generator=generator), torch.randn(2, generator=generator)
        start = true._replace(
            angles=turned * turn[None],
            translation=torch.cat((away * shift / shift.norm(), torch.zeros(1)))[None],
        )
        for kind in ("soft", "hard"):
            options = {"soft": kind == "soft", "size": 32, "steps": 80, "sigma": (6.0, 0.1), "rate": 0.1}
            found, seen = recover_pose(renderer, true, start, **options)
            row = {"start": number + 1, "rasteriser": kind}
            for name in ("degrees", "pixels"):
                row |= {f"{name} before": found[0][name], f"{name} after": found[-1][name]}
            rows.append(row)
            pictures.setdefault(kind, seen)
    target = renderer.picture(true, 32, sigma=0.1).over(torch.zeros(1, 3, 32, 32))[0].permute(1, 2, 0)
    return rows, {kind: [*seen, target.detach()] for kind, seen in pictures.items()}
