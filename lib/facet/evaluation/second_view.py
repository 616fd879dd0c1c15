"""What a second view is worth: one photo at 27 poses with no second view, a true one or a synthetic one.

Samples are those of a Florence set, one photo each; for systems that read two photos a second image is put
beside it. The true second view is the same person's after a full turn: from ±80° for a photo within 45° of
the front, else from the front, level. Synthetic views are turned so far too, or by the thesis' 30°; each row
says which. What 30° cost is told by one reader that is shown both (`readings`), not by readers of their own.
View quality compares a synthetic view with the photo that was really taken from there.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facet.rotation import ANGLE, FULL, Rotator, second_pose
from facet.rotation.lessons import recoloured
from facet.rotation.pairs import true_pair
from facet.rotation.rotator import repaired
from facet.rotation.store import Store, Stored
from facet.synthetic.poses import FLORENCE_PITCH, FLORENCE_YAW
from facet.synthetic.test_sets import TestSet

SECONDS = ("none", "twice", "true")  # beside stored views
WINDOW, SIGMA = 11, 1.5  # of SSIM (Wang et al. 2004), pixels
STABLE = (0.01**2, 0.03**2)
TRUE_FACE = "true face, holes filled"
TURNS = {ANGLE: f"by {ANGLE:g}°", FULL: "full turn"}
# How far the views are turned that the reader of each kind is shown: as those it has learned with.
SHOWN = {"true": FULL, "rotated": ANGLE, "rotated-side": FULL, "both": ANGLE, "imitated": FULL}


def view_number(yaw: float, pitch: float) -> int:
    """The number of the Florence view nearest to angles in degrees; of two, the one with the larger yaw."""
    across = min(range(len(FLORENCE_YAW)), key=lambda k: (abs(FLORENCE_YAW[k] - yaw), -FLORENCE_YAW[k]))
    up = min(range(len(FLORENCE_PITCH)), key=lambda k: abs(FLORENCE_PITCH[k] - pitch))
    return up * len(FLORENCE_YAW) + across


def samples_with(test_set: TestSet, second: str | Stored = "none") -> Iterator[dict]:
    """The samples of a Florence set with a second image beside each photo.

    Args:
        second: "none", "twice" (the photo itself), "true" (a full turn, see above), or stored views, one a
            sample.

    Raises:
        ValueError: an unknown word.
    """
    if isinstance(second, str) and second not in SECONDS:
        raise ValueError(f"a second image is {', '.join(SECONDS)} or stored views, not {second!r}")
    for number in range(len(test_set.pictures)):
        for place, sample in enumerate(people := test_set.person(number)):
            if isinstance(second, Stored):
                rows = torch.tensor([number * len(people) + place])
                image = second.stack(rows)[0].float() / 255
            elif second == "true":
                pose = torch.tensor([[sample["yaw"], sample["pitch"], 0.0]])
                yaw, pitch, _ = second_pose(pose, to=FULL)[0].tolist()
                image = people[view_number(yaw, pitch)]["images"]
            else:
                image = sample["images"]
            both = sample["images"] if second == "none" else torch.cat((sample["images"], image))
            yield {**sample, "images": both}


def readings(
    nets: Mapping[str, nn.Module], views: Callable[[float | str], Stored]
) -> list[tuple[str, str, nn.Module, str | Stored]]:
    """The rows of the comparison: name and variant, network, and what `samples_with` shows it beside a photo.

    prn wide, one-pass                one photo
    twoview true, …                   the reader that learned with true pairs: a true second photo after a
                                      full turn, and the photo twice
    rotation reader true, full turn   the same reader with synthetic views: what is lost to their quality
    rotation reader true, by 30°      and turned by 30° only: what is lost to the angle
    rotation reader KIND, …           readers that learned with other second pictures, shown what they know

    Args:
        nets: label → network; a row stands only for what is there.
        views: `to` of `rotated_store` → its opened views of the test set.
    """
    rows = [("prn", "wide", nets["prn wide"], "none")] if "prn wide" in nets else []
    if "twoview true" in nets:
        reader = nets["twoview true"]
        rows += [("twoview", f"true, true second, {TURNS[FULL]}", reader, "true")]
        rows += [("twoview", "true, photo twice", reader, "twice")]
    made: dict[float | str, Stored] = {}
    for kind, turn in SHOWN.items():
        if f"twoview {kind}" not in nets:
            continue
        for to in (turn, ANGLE) if kind == "true" else (turn,):
            made[to] = made[to] if to in made else views(to)
            rows.append(("rotation", f"reader {kind}, {TURNS[to]}", nets[f"twoview {kind}"], made[to]))
    return rows + ([("one-pass", "", nets["one-pass"], "none")] if "one-pass" in nets else [])


def rotated_store(test_set: TestSet, rotator: Rotator, about: dict[str, object], *, to: float | str) -> Store:
    """The rotator's second views of every photo of a Florence set, made once.

    Args:
        about: plain values that decide what the rotator does; to: as `second_pose`.
    """
    views = len(test_set.views)

    def make(rows: Tensor) -> Tensor:
        photos = [test_set.pictures.picture(row // views, row % views) for row in rows.tolist()]
        photos = torch.stack([torch.from_numpy(p.copy()) for p in photos]).to(rotator.device) / 255
        heads = rotator.heads(photos)
        return rotator.view(photos, heads, second_pose(heads.pose(), to=to)).image

    about = {"to": to, "people": test_set.pictures.description.key, **about}
    return Store(f"{test_set.name}-rotated", about, len(test_set), make, shard=27, together=9)


@torch.no_grad()
def view_quality(
    rotators: dict[str, Rotator], test_set: TestSet, turns: Iterable[tuple[float, float]]
) -> pd.DataFrame:
    """Synthetic views beside the photos that were taken from there, at pitch 0.

    The photo's colours are brought to the view's first, channel by channel (each photo has its own exposure).

    Args:
        rotators: name → rotator; they differ in the generator alone, the fit is the first one's. The first is
            shown with the true face for a fit, too: what its views lack besides the fit.
        turns: (from yaw, to yaw), Florence yaws.

    Returns:
        Columns rotator, identity, from, to, turn (degrees), seen (share of the head that the photo shows),
        psnr (dB) and ssim on the head; a row a person, turn and rotator.
    """
    plain, rows = next(iter(rotators.values())), []
    for number in range(len(test_set.pictures)):
        people = test_set.person(number)
        for start, end in turns:
            source, target = (people[view_number(yaw, 0.0)] for yaw in (start, end))
            photo = source["images"][None].to(plain.device)
            about = {"identity": source["identity"], "from": start, "to": end, "turn": abs(end - start)}
            truth = target["vertices"][None].to(photo)
            found = {"": plain.heads(photo), TRUE_FACE: plain.completion(source["vertices"][None].to(photo))}
            for fitted, heads in found.items():
                drawn = true_pair(photo, heads, plain.completion, truth)
                answer, head = recoloured(target["images"][None].to(photo), drawn), drawn.render.head
                about["seen"] = float(drawn.render.seen.sum() / head.sum())
                for name, rotator in rotators.items() if not fitted else ((fitted, plain),):
                    view = drawn if rotator.generator is None else repaired(drawn, rotator.generator)
                    quality = psnr(view.image, answer, head), ssim(view.image, answer, head)
                    values = dict(zip(("psnr", "ssim"), map(float, quality), strict=True))
                    rows.append({"rotator": name, **about, **values})
    return pd.DataFrame(rows)


def psnr(image: Tensor, truth: Tensor, mask: Tensor) -> Tensor:
    """(B,) peak signal-to-noise ratio in dB of (B, 3, S, S) images in [0, 1] over a mask (B, 1, S, S)."""
    wrong = (mask * (image.clamp(0, 1) - truth).square()).sum(dim=(1, 2, 3))
    wrong = wrong / (3 * mask.sum(dim=(1, 2, 3))).clamp(min=1)
    return -10 * wrong.clamp(min=1e-10).log10()


def ssim(image: Tensor, truth: Tensor, mask: Tensor) -> Tensor:
    """(B,) structural similarity (Wang et al. 2004) of images in [0, 1], averaged over a mask."""
    line = torch.exp(-0.5 * ((torch.arange(WINDOW) - WINDOW // 2) / SIGMA) ** 2).to(image)
    window = torch.outer(line, line) / line.sum() ** 2
    channels = image.shape[1]
    kernel = window.expand(channels, 1, WINDOW, WINDOW)

    def mean(x: Tensor) -> Tensor:
        padded = F.pad(x, (WINDOW // 2,) * 4, mode="reflect")
        return F.conv2d(padded, kernel, groups=channels)

    a, b = image.clamp(0, 1), truth
    ma, mb = mean(a), mean(b)
    va, vb, cov = mean(a * a) - ma * ma, mean(b * b) - mb * mb, mean(a * b) - ma * mb
    top = (2 * ma * mb + STABLE[0]) * (2 * cov + STABLE[1])
    found = top / ((ma * ma + mb * mb + STABLE[0]) * (va + vb + STABLE[1]))
    return (found * mask).sum(dim=(1, 2, 3)) / (channels * mask.sum(dim=(1, 2, 3))).clamp(min=1)


def kept_share(
    frame: pd.DataFrame, systems: Sequence[str], *, baseline: str, best: str, metric: str, normaliser: str
) -> pd.DataFrame:
    """What share of the gain of one system over another some others keep.

    (baseline − system) / (baseline − best), of mean errors over the same samples: 1 keeps all of it, 0 none.

    Args:
        frame: tidy rows; systems, baseline, best: labels, name and variant.

    Returns:
        Columns system, mean, gain (of the mean error), kept (nan where `best` is no better than `baseline`).
    """
    named = (frame["model"] + " " + frame["variant"].fillna("")).str.strip()
    chosen = (frame["metric"] == metric) & (frame["normaliser"] == normaliser)
    means = frame[chosen].groupby(named[chosen])["value"].mean()
    whole = means[baseline] - means[best]
    rows = []
    for system in systems:
        gain = means[baseline] - means[system]
        kept = gain / whole if whole > 0 else float("nan")
        rows.append({"system": system, "mean": means[system], "gain": gain, "kept": kept})
    return pd.DataFrame(rows)
