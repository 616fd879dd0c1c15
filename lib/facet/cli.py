"""The command line: `facet reconstruct photo.jpg -o face.glb` and the rest, thin over the library.

Bad input ends with one sentence on stderr and exit status 2. Each subcommand imports what it needs, so that
`facet --help` answers at once.
"""

import argparse
import os
import sys
import warnings
from functools import partial
from pathlib import Path
from textwrap import wrap

from facet import cli_photos

COLUMNS = 110  # of a terminal, that the table of systems fits
# What bad input, a missing file or package, or a full disk raises; anything else is a fault of ours.
_EXPECTED = (ValueError, OSError, ImportError, FloatingPointError)


class _Parser(argparse.ArgumentParser):
    """As argparse, but a wrong call is one sentence too."""

    def error(self, message: str):
        self.exit(2, f"{self.prog}: {message}; see `{self.prog} --help`\n")


def main(arguments: list[str] | None = None) -> int:
    """Run a command and return the exit status.

    0; 1 when a notebook of a report failed; 2 after bad input; 130 when interrupted; 141 when nobody reads.
    """
    # read when torch is loaded: threads that wait by spinning make a fit ten times slower on a busy machine
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    options = _parser().parse_args(arguments)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            status = options.run(options) or 0
            sys.stdout.flush()
            return status
    except BrokenPipeError:  # of `facet study | head`; Python would complain again when it closes stdout
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except _EXPECTED as error:
        print(f"facet: {_sentence(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("facet: interrupted", file=sys.stderr)
        return 130


def _positive(text: str) -> int:
    """A whole number above 0, for argparse."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"must be a whole number above 0, got {text!r}")
    return int(text)


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno is not None and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split()) or type(error).__name__


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="facet", description="A 3D face from one or two photographs.")
    commands = parser.add_subparsers(metavar="command", required=True, parser_class=_Parser)
    cli_photos.add_reconstruct(commands)
    cli_photos.add_rotate(commands)
    _add_train(commands)
    _add_study(commands)
    _add_report(commands)
    systems = commands.add_parser(
        "systems",
        help="list the networks: parameters, MACs, models at hand",
        description="Models at hand are what `facet reconstruct --model` takes. Of those with a profile in "
        "brackets FACET_PROFILE has to name it.",
    )
    systems.set_defaults(run=_systems)
    _add_data(commands)
    return parser


def _add_train(commands) -> None:
    parser = commands.add_parser("train", help="train a system, or go on where its training stopped")
    parser.add_argument("system", help="see `facet systems`; its variant may stand behind it: prn-all-poses")
    parser.add_argument("--variant", default="", help="of the system's training, such as all-poses")
    parser.add_argument("--profile", help="smoke, small or full (default: $FACET_PROFILE, else small)")
    parser.add_argument("--seed", type=int, help="(default: the profile's)")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="(default: auto)")
    parser.add_argument("--minutes", type=float, help="stop after about so long; the next call goes on")
    parser.add_argument(
        "--out",
        metavar="FOLDER",
        help="also keep the state there, in at most 8 files of 15 MiB; then the weights",
    )
    parser.add_argument(
        "--album", metavar="FILE", help="of photographs, for the variant photos of coefficients"
    )
    parser.add_argument("--again", action="store_true", help="train even where weights are at hand")
    parser.add_argument(
        "--workers", type=_positive, default=2, help="processes that render people (default 2)"
    )
    parser.set_defaults(run=_train)


def _train(options: argparse.Namespace) -> None:
    _check_minutes(options)
    from facet import profiles, trainings
    from facet.deadline import Deadline, OutOfTime
    from facet.training import obtain, train_slice

    system, variant = trainings.named(options.system, options.variant)
    if options.album and (system, variant) != ("coefficients", "photos"):
        raise ValueError("--album is for `facet train coefficients --variant photos`: leave it out")
    _check_device(options)
    profile = profiles.load(options.profile)
    if options.album:
        profile = profile.with_(options={"album": options.album})
    about = {"variant": variant, "seed": options.seed, "device": options.device}
    made = trainings.recipe(system, profile, **about)
    say = Deadline.after(options.minutes).between(partial(print, flush=True))

    def task():
        return trainings.task(made, profile, workers=options.workers, say=say)

    how = {"train": "always" if options.again else "auto", "minutes": options.minutes}
    try:
        if options.out:
            _, history = train_slice(made, task, out=options.out, **how)
        else:
            _, history = obtain(made, task, wait=False, **how)
    except OutOfTime:
        print(f"{made.name}: stopped in time while rendering; the same command goes on with what is there")
        return
    print(f"{made.name}: {_reached(history, made.settings)}")


def _reached(history, settings) -> str:
    """How far a training is."""
    state = "finished" if history.finished else "stopped in time; the same command goes on"
    if not history.rows:
        return f"{state}, before the first validation"
    samples, budget = history.rows[-1]["samples"], settings.steps * settings.batch
    return f"{state}; {samples:,} of {budget:,} samples, best validation loss {history.best['val_loss']:.5g}"


def _add_study(commands) -> None:
    parser = commands.add_parser("study", help="list the studies, or go on with the trainings of one")
    parser.add_argument("name", nargs="?", help="of the study; none lists them")
    parser.add_argument("--only", metavar="CELL", help="one of its trainings")
    parser.add_argument("--seed", type=int, help="only the trainings of one seed")
    parser.add_argument("--minutes", type=float, help="stop after about so long; the next call goes on")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="(default: auto)")
    parser.add_argument(
        "--workers", type=_positive, default=2, help="processes that render people (default 2)"
    )
    parser.set_defaults(run=_study)


def _study(options: argparse.Namespace) -> None:
    _check_minutes(options)
    from facet import studies

    if options.name is None:
        for name in studies.STUDIES:
            print(studies.overview(studies.find(name)))
        return
    study = studies.find(options.name)
    _check_device(options)
    how = {name: getattr(options, name) for name in ("only", "seed", "minutes", "device", "workers")}
    studies.run(study, say=lambda text: print(text, flush=True), **how)
    print(studies.overview(study))


def _check_minutes(options: argparse.Namespace) -> None:
    if options.minutes is not None and not options.minutes > 0:
        raise ValueError(f"--minutes must be positive, got {options.minutes:g}")


def _check_device(options: argparse.Namespace) -> None:
    """Before anything is rendered for a training that could not start."""
    from facet.devices import device_of

    device_of(None if options.device == "auto" else options.device)


def _add_report(commands) -> None:
    parser = commands.add_parser("report", help="run the notebooks and write reports/PROFILE/index.html")
    parser.add_argument("--profile", help="smoke, small or full (default: $FACET_PROFILE, else small)")
    parser.add_argument("--only", default="", metavar="NUMBERS", help="some notebooks, such as 11 or 11,30")
    parser.set_defaults(run=_report)


def _report(options: argparse.Namespace) -> int:
    from facet import execute, profiles

    try:
        print(execute.report(profiles.shared(options.profile), options.only))
    except execute.NotebookError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _systems(options: argparse.Namespace) -> None:
    """The networks at 256 pixels and full width; `with statistics` counts moving means and variances too."""
    from facet import networks

    columns = ("system", "title", "views", "parameters", "with_statistics", "macs")
    rows = networks.systems_table()
    table = [["system", "network", "photos", "parameters", "with statistics", "MACs", "models at hand"]]
    table += [[*(_cell(row[name]) for name in columns), _models_at_hand(row["system"])] for row in rows]
    widths = [max(len(line[i]) for line in table) for i in range(len(columns))]
    margin = sum(widths) + 2 * len(widths)
    for *cells, models in table:
        before = "".join(cell.ljust(width + 2) for cell, width in zip(cells, widths, strict=True))
        lines = wrap(models, COLUMNS - margin, break_on_hyphens=False, break_long_words=False)
        print(before + f"\n{' ' * margin}".join(lines))


def _models_at_hand(system: str) -> str:
    """What `--model` takes of a system; in brackets the profile, where FACET_PROFILE has to name it."""
    from facet.reconstruction import weights

    models, usual, found = weights.models()[system], weights.preferred_profiles(), []
    for name in models or [system]:
        profiles = weights.profiles_of(name)
        if profiles:
            found.append(name if profiles[0] in usual else f"{name} ({', '.join(profiles)})")
    return (", ".join(found) or "none") + ("" if models else "; gives no face")


def _cell(value) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def _add_data(commands) -> None:
    parser = commands.add_parser("data", help="make or list what everything is built from")
    parts = parser.add_subparsers(metavar="what", required=True, parser_class=_Parser)
    build = parts.add_parser(
        "build", help="build the face model, its people and what they wear, if they are not in data/cache"
    )
    build.set_defaults(run=_data_build)
    pack = parts.add_parser("pack", help="pack what a training on rendered people reads into one small file")
    pack.add_argument("parcel", help="the file to write")
    pack.set_defaults(run=_data_pack)
    unpack = parts.add_parser("unpack", help="put what was packed under data/cache")
    unpack.add_argument("parcel", help="what `facet data pack` wrote")
    unpack.set_defaults(run=_data_unpack)
    weights = parts.add_parser("weights", help="list trained networks, or release those that are finished")
    weights.add_argument("--profile", help="smoke, small or full (default: $FACET_PROFILE, else small)")
    weights.add_argument(
        "--release",
        nargs="*",
        metavar="SYSTEM",
        help="copy finished ones, all or some such as prn-wide, to data/weights, and their histories to "
        "reports/PROFILE/records",
    )
    weights.set_defaults(run=_data_weights)
    album = parts.add_parser("album", help="photographs to train coefficients on: faces found and cropped")
    album.add_argument("source", help="a folder of photographs, or lfw (fetched by scikit-learn)")
    album.add_argument("-o", "--output", required=True, metavar="FILE", help=".npz")
    album.add_argument("--profile", help="smoke, small or full (default: $FACET_PROFILE, else small)")
    album.add_argument("--count", type=_positive, help="at most so many photographs")
    album.set_defaults(run=_data_album)
    photos = parts.add_parser("photos", help="list the photographs that installed packages ship")
    photos.set_defaults(run=_data_photos)


def _data_build(options: argparse.Namespace) -> None:
    from facet import face_model
    from facet.face_model import files, wearables
    from facet.synthetic import eye_assets

    for path in (*files.ensure(), wearables.ensure(), eye_assets.ensure()):
        print(f"{path} ({path.stat().st_size / 2**20:.1f} MiB)")
    model = face_model.load()
    print(f"face model: {len(model.mean):,} vertices, {len(model.triangles):,} triangles")


def _data_pack(options: argparse.Namespace) -> None:
    from facet import parcel
    from facet.face_model import files, wearables
    from facet.synthetic import eye_assets

    parcel.pack((*files.ensure(), wearables.ensure(), eye_assets.ensure()), Path(options.parcel))
    print(f"{options.parcel} ({Path(options.parcel).stat().st_size / 2**20:.1f} MiB)")


def _data_unpack(options: argparse.Namespace) -> None:
    from facet import parcel, paths

    for path in parcel.unpack(Path(options.parcel), paths.CACHE):
        print(f"{path} ({path.stat().st_size / 2**20:.1f} MiB)")


def _data_weights(options: argparse.Namespace) -> None:
    from facet import profiles, trainings
    from facet.training import recipes, release, weights_state

    profile = profiles.load(options.profile)
    known = {"-".join(filter(None, pair)): pair for pair in trainings.known()}
    asked = [*known] if options.release == [] else options.release or []
    if unknown := sorted(set(asked) - set(known)):
        raise ValueError(f"unknown system {', '.join(unknown)}: `facet data weights` lists them")
    described = {name: trainings.recipe(pair[0], profile, variant=pair[1]) for name, pair in known.items()}
    _check_release(options.release or [], described)
    for name, made in described.items():
        found = weights_state(made)
        if name in asked and found.state == "trained":
            for path in release(made):
                print(f"{path} ({path.stat().st_size:,} bytes)")
            found = weights_state(made)
        line = f"{found.name}: {found.state}"
        if found.path:
            about = found.metadata
            system, variant = known[name]
            before = recipes.samples_before(system, profile, variant=variant, find=trainings.recipe)
            line += f"; {before + about['samples']:,} samples, validation loss {about['val_loss']:.5g}"
        print(line)


def _check_release(names: list[str], described: dict) -> None:
    """Before anything is released: each that is named has finished."""
    from facet.training import weights_state

    for name in names:
        found = weights_state(described[name])
        if found.state not in ("trained", "released"):
            reason = "outdated" if found.path else "not on this machine"
            raise ValueError(f"weights of {found.name} are {reason}: `facet train {name}` makes them")


def _data_album(options: argparse.Namespace) -> None:
    from facet import face_model, profiles
    from facet.reconstruction import albums
    from facet.reconstruction.export import check_target

    check_target(options.output, (".npz",))
    about = {"image_size": profiles.load(options.profile).image_size, "count": options.count}
    faces, left_out = albums.make(options.source, options.output, face_model.load(), say=print, **about)
    reasons = ", ".join(f"{name} ({reason})" for name, reason in left_out.items())
    print(f"{options.output}: {faces} faces" + (f"; left out: {reasons}" if left_out else ""))


def _data_photos(options: argparse.Namespace) -> None:
    from facet.reconstruction import photos

    for photo in photos.available():
        print(f"{photo.name}: {photo.shows}; {photo.licence}; {os.fspath(photo.path())}")


if __name__ == "__main__":
    sys.exit(main())
