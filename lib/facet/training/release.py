"""Releasing weights: from the cache, where training leaves them, into the folder that is tracked."""

from dataclasses import dataclass
from pathlib import Path

from facet.files import write_beside
from facet.paths import CACHE, REPORTS, WEIGHTS
from facet.training.history import History
from facet.training.obtain import Recipe, fitting
from facet.training.weights import compact_weights, configuration_differences, read_metadata

LIMIT = int(1.5 * 2**20)  # bytes of one released network; a clone fetches them all


@dataclass(frozen=True)
class WeightsState:
    """What is on this machine of one training.

    Attributes:
        name: of the weights' file, without suffix.
        state: "released", "trained" (in the cache, not released or not as it is there), "outdated" (of
            another configuration) or "none".
        path: the file, None for "none".
        metadata: the file's own, empty for "none".
    """

    name: str
    state: str
    path: Path | None = None
    metadata: dict[str, object] | None = None


def weights_state(recipe: Recipe, *, weights: Path = WEIGHTS, cache: Path = CACHE) -> WeightsState:
    """Which weights of a recipe there are: of what `obtain` would take, or else of a file that does not fit.

    Raises:
        ValueError: a file is cut off.
    """
    released, made = (Path(p) / f"{recipe.name}.safetensors" for p in (weights, Path(cache) / "weights"))
    if fit := fitting(recipe, weights=weights, cache=cache):
        state = "released" if fit[0] == released else "trained"
        return WeightsState(recipe.name, state, fit[0], read_metadata(fit[0]))
    if there := [path for path in (released, made) if path.is_file()]:
        return WeightsState(recipe.name, "outdated", there[0], read_metadata(there[0]))
    return WeightsState(recipe.name, "none")


def release(
    recipe: Recipe,
    *,
    weights: Path = WEIGHTS,
    cache: Path = CACHE,
    reports: Path = REPORTS,
    limit: int = LIMIT,
) -> tuple[Path, Path]:
    """Write a finished training's weights among the tracked ones, and its history among the report's records.

    The tracked file is the compact one (`compact_weights`).

    Returns:
        The weights' path, and `reports/<profile>/records/history-<system>[-<variant>][-seed<n>].csv`.

    Raises:
        FileNotFoundError: the training has not finished on this machine.
        ValueError: the weights are of another configuration, or larger than a clone should fetch.
    """
    made = Path(cache) / "weights" / f"{recipe.name}.safetensors"
    metadata = read_metadata(made)
    if differing := configuration_differences(metadata, recipe.configuration()):
        raise ValueError(f"{made} was trained with another {', '.join(differing)}: train anew")
    compact = compact_weights(made)
    if len(compact) > limit:
        raise ValueError(f"{made} needs {len(compact):,} bytes, a released network has at most {limit:,}")
    target = Path(weights) / made.name
    with write_beside(target) as temporary:
        temporary.write_bytes(compact)
    seed = f"seed{recipe.settings.seed}" if recipe.settings.seed else ""
    name = "-".join(part for part in ("history", recipe.system, recipe.variant, seed) if part)
    record = Path(reports) / recipe.profile / "records" / f"{name}.csv"
    History(metadata["history"]).write_csv(record)
    return target, record
