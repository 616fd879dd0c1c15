"""The commands that take photographs: `facet reconstruct` and `facet rotate`."""

import argparse
from pathlib import Path


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
        "--correct", action="store_true", help="turn the face upright first: tilted or upside-down photos"
    )
    parser.add_argument("--device", help="cpu, cuda, cuda:1 (default: a GPU if there is one)")
    parser.add_argument(
        "--refine",
        type=int,
        metavar="STEPS",
        help="fit the photo itself, with --model coefficients (default 0; without --model 40)",
    )
    parser.add_argument(
        "--no-prior",
        dest="prior",
        action="store_false",
        default=None,
        help="keep the network's own position map instead of the most probable face behind it",
    )
    parser.add_argument("--picture", metavar="PNG", help="also draw the mesh from three sides into this file")
    parser.set_defaults(run=_reconstruct)


def _reconstruct(options: argparse.Namespace) -> None:
    from facet.reconstruction.export import check_target

    output = check_target(options.output or Path(options.front).with_suffix(".glb").name)
    if options.picture and Path(options.picture).suffix.lower() != ".png":
        raise ValueError(f"cannot write {options.picture}: the picture must end in .png")
    landmarks = _read_landmarks(options.landmarks) if options.landmarks else None
    from facet import reconstruct

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
    if options.picture:
        from facet.files import write_beside
        from facet.viewers import still_of

        with write_beside(options.picture) as temporary:
            still_of(face).save(temporary)
    for note in face.notes:
        print(f"note: {note}")
    print(f"{output}: {len(face.vertices):,} vertices by {face.system}")
    if face.pose:
        print("pose: yaw {:.0f}°, pitch {:.0f}°, roll {:.0f}°".format(*face.pose))


def add_rotate(commands) -> None:
    """The command `facet rotate`."""
    parser = commands.add_parser("rotate", help="the person in a photograph, seen from another side")
    parser.add_argument("photo", help="the photograph")
    parser.add_argument("-o", "--output", metavar="PNG", help="(default: PHOTO-turned.png here)")
    parser.add_argument(
        "--yaw",
        nargs="+",
        type=float,
        metavar="DEGREES",
        help="-90 to 90, the nose to the picture's right above 0; several stand side by side "
        "(default: a front photo is turned to its side, any other to the front)",
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
    from facet.reconstruction.export import PICTURES, check_target

    name = f"{Path(options.photo).stem}-turned.png"
    output = check_target(options.output or name, PICTURES)
    import numpy as np
    from PIL import Image

    from facet import rotate
    from facet.files import write_beside
    from facet.rotation.turn import check_yaw

    for yaw in options.yaw or ():
        check_yaw(yaw)
    about = {"to": options.by, "level": not options.keep_tilt, "size": options.size}
    about |= {"repair": options.repair, "device": options.device}
    views = []
    for yaw in options.yaw or (None,):
        known = {"face": views[0].face} if views else {"box": options.box}
        views.append(rotate(options.photo, yaw, **about, **known))
    with write_beside(output) as temporary:
        Image.fromarray(np.concatenate([view.image for view in views], axis=1)).save(temporary)
    for note in views[0].face.notes:
        print(f"note: {note}")
    angles = ", ".join(f"{round(view.pose.yaw)}°" for view in views)
    print(f"{output}: turned from yaw {round(views[0].photo_pose.yaw)}° to {angles}")


def _read_landmarks(path: str):
    if path == "network":
        return path
    import numpy as np

    try:
        return np.loadtxt(path, delimiter="," if path.endswith(".csv") else None, ndmin=2)
    except ValueError as error:
        raise ValueError(f"{path} does not hold 68 lines of two numbers ({error})") from error
