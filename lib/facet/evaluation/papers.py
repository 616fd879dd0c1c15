"""What the papers report, on their data: to stand beside our rows and never to be averaged with them.

Every value is in per cent of the named normaliser (0.0134 in a paper is 1.34 here). Test sets keep the
papers' names with what was used of them; a normaliser that a paper does not state is called "not stated".
"""

from __future__ import annotations

import math

import pandas as pd

from facet.evaluation.statistics import SUMMARY_COLUMNS

TWOVIEW = "Lium, 3D Facial Reconstruction from Front and Side Images, thesis, NTNU"
ROTATION = "Synthetic-rotation two-view thesis, NTNU, 2021"
VOLUMETRIC = "Mauricio and López, review of Jackson et al. 2017 (VRN), table 1"
RESIDUAL = "Zhou, Research on 3D Reconstruction Based on 2D Face Images, MRes thesis, 2021"

_FLORENCE_20 = "MICC Florence, 20 faces, front + side"
_FLORENCE_27 = "MICC Florence, 51 faces x 27 views"
_AFLW = "AFLW2000-3D"
_LOSSES = ("L1", "L1+K", "L1+S", "L1+K+S", "L1 x mask")


def reported() -> pd.DataFrame:
    """All reported rows, with SUMMARY_COLUMNS; what a paper does not give is empty."""
    rows = [*_two_view(), *_rotation(), *_volumetric(), *_residual()]
    return pd.DataFrame(rows, columns=SUMMARY_COLUMNS)


def _row(
    model: str, variant: str, test_set: str, metric: str, normaliser: str, mean: float, source: str
) -> dict:
    empty = dict.fromkeys(("seed", "device", "samples"), "") | dict.fromkeys(
        ("median", "std", "p90"), math.nan
    )
    about = {
        "model": model,
        "variant": variant,
        "test_set": test_set,
        "metric": metric,
        "normaliser": normaliser,
    }
    return (
        empty
        | about
        | {"yaw": "all", "pitch": "all", "profile": "paper", "mean": mean, "n": "", "source": source}
    )


def _two_view() -> list[dict]:
    values = (
        ("prn", "", 1.34),
        ("twoview", "synthetic only", 1.64),
        ("twoview", "synthetic, then 300W-LP", 0.74),
    )
    return [_row(m, v, _FLORENCE_20, "icp", "bbox", x, TWOVIEW) for m, v, x in values]


def _rotation() -> list[dict]:
    values = (
        ("prn", "", 2.043),
        ("rotation", "weights of the two-view thesis", 1.908),
        ("rotation", "trained on synthetic", 3.179),
    )
    return [_row(m, v, _FLORENCE_27, "icp", "bbox", x, ROTATION) for m, v, x in values]


def _volumetric() -> list[dict]:
    sets = (_AFLW, "BU-4DFE", "MICC Florence")
    values = {
        "vrn": (6.76, 6.00, 5.68),
        "vrn-multitask": (6.98, 6.25, 5.42),
        "vrn-guided": (6.37, 5.55, 5.09),
        "3DDFA": (10.12, 12.27, 9.75),
        "EOS": (9.71, 15.60, 12.53),
    }
    return [
        _row(model, "", test_set, "mesh", "interocular", value, VOLUMETRIC)
        for model, three in values.items()
        for test_set, value in zip(sets, three, strict=True)
    ]


def _residual() -> list[dict]:
    def mesh(model: str, variant: str, value: float) -> dict:
        return _row(model, variant, _AFLW, "mesh", "not stated", value, RESIDUAL)

    rows = [mesh("prn", "", 5.255), mesh("3DDFA", "", 11.845), mesh("residual", "", 3.912)]
    losses = {"prn": (6.377, 5.867, 5.567, 5.592, 5.255), "residual": (4.435, 4.256, 4.121, 3.911, 3.912)}
    for model, values in losses.items():
        for loss, value in zip(_LOSSES, values, strict=True):
            rows.append(mesh(model, f"loss study: {loss}", value))
    rows += [mesh("prn", "stage study", 5.268), mesh("residual", "stage study: joint", 5.104)]
    # The text lists PRN's authors, no augmentation, theirs; the figure's story needs the first two exchanged.
    for variant, value in (("authors' weights", 2.199), ("no augmentation", 1.675), ("augmentation", 1.692)):
        name = f"augmentation study: {variant} (text's order)"
        rows.append(_row("prn", name, _AFLW, "landmarks", "outer eye corners", value, RESIDUAL))
    return rows
