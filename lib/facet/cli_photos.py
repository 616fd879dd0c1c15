"""The commands that take photographs: `facet reconstruct` and `facet rotate`."""

import argparse
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# How the library's messages call what the command line calls otherwise.
OPTIONS = {
    "give box=(x0, y0, x1, y1)": "give --box X0 Y0 X1 Y1",
    "give its landmarks or a box": "give --landmarks or --box",
    "give landmarks or a box": "give --landmarks or --box",
    "refine is for": "--refine is for",
    "refine must be": "--refine must be",
    "correct and prior are for": "--correct and --no-prior are for",
    "leave size out": "leave --size out",
}


def add_reconstruct(commands) -> None:
    """The command `facet reconstruct`."""
    parser = commands.add_parser("reconstruct", help="a mesh from one or two photographs")
    parser.add_argument("front", help="the photograph; the mesh is in its pixels")
    parser.add_argument("side", nargs="?", help="a second photograph of the same person, from the side")
    parser.add_argument("-o", "--output", metavar="MESH", help=".glb, .obj or .ply (default: PHOTO.glb here)")
    parser.add_argument("--model", default="auto", help="a system (see `facet systems`) or a weights file")
    parser.add_argument(
        "--box",
        nargs=4,
        type=float,
        metavar=("X0", "Y0", "X1", "Y1"),
        help="around brows, jaw, chin; pixels",
    )
    parser.add_argument(
        "--landmarks",
        metavar="FILE",
        help="68 lines `x y` in pixels, instead of a box; `network`: by the landmark network",
    )
    parser.add_argument(
        "--correct",
        action="store_true",
        help="turn the face upright first: tilted or upside-down photos (without --model, a network of "
        "position maps then answers instead of the usual one)",
    )
    parser.add_argument("--device", help="cpu, cuda, cuda:1 (default: a GPU if there is one)")
    parser.add_argument(
        "--refine",
        type=int,
        metavar="STEPS",
        help="fit the photo itself, with any network of coefficients (default 0; without --model 40)",
    )
    parser.add_argument(
        "--no-prior",
        dest="prior",
        action="store_false",
        default=None,
        help="keep the network's own position map instead of the most probable face behind it (without "
        "--model, a network of position maps then answers instead of the usual one)",
    )
    parser.add_argument("--picture", metavar="PNG", help="also draw the mesh from three sides into this file")
    parser.set_defaults(run=_reconstruct)


def _reconstruct(options: argparse.Namespace) -> None:
    output, picture = _targets(options)
    landmarks = _read_landmarks(options.landmarks) if options.landmarks else None
    from facet import reconstruct

    with _in_options():
        face = reconstruct(
            options.front,
            options.side,
            model=options.model,
            landmarks=landmarks,
            box=options.box,
            correct=options.correct,
            device=options.device,
            refine=options.refine,
            prior=options.prior,
        )
    face.save(output)
    if picture:
        from facet.files import write_beside
        from facet.viewers import still_of

        with write_beside(picture) as temporary:
            still_of(face).save(temporary)
    _print_notes(face)
    print(f"{output}: {len(face.vertices):,} vertices by {face.label}")
    if face.pose:
        print("pose: yaw {}°, pitch {}°, roll {}°".format(*map(round, face.pose)))


def _targets(options: argparse.Namespace) -> tuple[Path, Path | None]:
    """The mesh and the picture that are asked for, all that is written with them checked beforehand."""
    from facet.reconstruction.export import PICTURES, check_apart, check_target, files_of

    name = f"{Path(options.front).stem or 'face'}.glb"
    output = check_target(name if options.output is None else options.output)
    files = [check_target(file, (file.suffix.lower(),)) for file in files_of(output)]
    picture = None if options.picture is None else check_target(options.picture, PICTURES)
    photos = [photo for photo in (options.front, options.side) if photo]
    check_apart([*files, *filter(None, [picture])], photos)
    return output, picture


def add_rotate(commands) -> None:
    """The command `facet rotate`."""
    parser = commands.add_parser("rotate", help="the person in a photograph, seen from another side")
    parser.add_argument("photo", help="the photograph")
    parser.add_argument("-o", "--output", metavar="PNG", help="(default: PHOTO-turned.png here)")
    parser.add_argument(
        "--yaw",
        nargs="+",
        type=_angles,
        metavar="DEGREES",
        help="-90 to 90, the nose to the picture's right above 0; several stand side by side, after the "
        "photograph or as --yaw=-60,-30,0 (default: a front photo is turned to its side, any other to the "
        "front)",
    )
    parser.add_argument(
        "--by", type=float, default=30.0, metavar="DEGREES", help="without --yaw (default 30)"
    )
    parser.add_argument("--keep-tilt", action="store_true", help="keep the photo's pitch and roll")
    parser.add_argument("--size", type=int, metavar="PIXELS", help="side of the picture (default 256)")
    parser.add_argument("--repair", action="store_true", help="the generator paints what the photo hides")
    parser.add_argument("--box", nargs=4, type=float, metavar=("X0", "Y0", "X1", "Y1"), help="of the face")
    parser.add_argument("--device", help="cpu, cuda, cuda:1 (default: a GPU if there is one)")
    parser.set_defaults(run=_rotate)


def _rotate(options: argparse.Namespace) -> None:
    from facet.reconstruction.export import PICTURES, check_apart, check_target

    name = f"{Path(options.photo).stem}-turned.png"
    output = check_target(name if options.output is None else options.output, PICTURES)
    check_apart([output], filter(None, [options.photo]))
    if not 0 <= options.by <= 180:
        raise ValueError(f"--by must be 0 to 180 degrees, got {options.by:g}")
    yaws = [yaw for some in options.yaw or () for yaw in some]
    import numpy as np
    from PIL import Image

    from facet import rotate
    from facet.files import write_beside
    from facet.rotation.turn import check_yaw

    for yaw in yaws:
        check_yaw(yaw)
    about = {"to": options.by, "level": not options.keep_tilt, "size": options.size}
    about |= {"repair": options.repair, "device": options.device}
    views = []
    for yaw in yaws or (None,):
        known = {"face": views[0].face} if views else {"box": options.box}
        with _in_options():
            views.append(rotate(options.photo, yaw, **about, **known))
    with write_beside(output) as temporary:
        Image.fromarray(np.concatenate([view.image for view in views], axis=1)).save(temporary)
    _print_notes(views[0].face)
    angles = ", ".join(f"{round(view.pose.yaw)}°" for view in views)
    print(f"{output}: turned from yaw {round(views[0].photo_pose.yaw)}° to {angles}")


def _angles(text: str) -> list[float]:
    """Degrees, one or several with commas between them."""
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no angle; a photograph comes first, as in `facet rotate photo.jpg --yaw -60 -30`"
        ) from None


@contextmanager
def _in_options() -> Iterator[None]:
    """What the library says is wrong in the block is said in the options of the command line."""
    try:
        yield
    except ValueError as error:
        error.args = (_optioned(str(error)),)
        raise


def _optioned(text: str) -> str:
    for argument, option in OPTIONS.items():
        text = text.replace(argument, option)
    return text


def _print_notes(face) -> None:
    for note in face.notes:
        print(f"note: {_optioned(note)}")


def _read_landmarks(path: str):
    if path == "network":
        return path
    if not Path(path).is_file():
        raise ValueError(f'{path} does not exist: give a file of 68 lines "x y", or the word network')
    import numpy as np

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of a file without lines
            found = np.loadtxt(path, delimiter="," if path.endswith(".csv") else None, ndmin=2)
    except ValueError as error:
        raise ValueError(f"{path} does not hold 68 lines of two numbers ({error})") from error
    if len(found) != 68 or found.shape[1] not in (2, 3):
        lines = f"{len(found)} × {found.shape[1]} numbers" if found.size else "nothing"
        raise ValueError(f'{path} holds {lines}: write 68 lines "x y", in pixels of the photo')
    return found
