"""The command line through real processes: bad input is one sentence on stderr, exit status 2, no file."""

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from facet import cli
from facet.reconstruction import photos

BOX = ["--box", "180", "87", "270", "177"]


def _facet(*arguments, cwd=None, **environment):
    command = [sys.executable, "-m", "facet.cli", *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", **environment}
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment, check=False)


@pytest.fixture(scope="module")
def bad_files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bad")
    (folder / "text.jpg").write_text("this is not a picture\n")
    Image.fromarray(photos.load("astronaut")).save(folder / "whole.jpg")
    whole = (folder / "whole.jpg").read_bytes()
    (folder / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    Image.new("RGB", (300, 200), (120, 130, 90)).save(folder / "wall.jpg")
    Image.new("RGB", (16, 16), (120, 130, 90)).save(folder / "tiny.png")
    (folder / "folder.jpg").mkdir()
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "broken.safetensors").write_bytes(b'\x10\x00\x00\x00\x00\x00\x00\x00{"a"')
    (folder / "points.txt").write_text("1 2\n3 four\n")
    np.savetxt(folder / "short.txt", np.ones((67, 2)))
    (folder / "none.txt").write_text("")
    np.savetxt(folder / "marks.txt", np.linspace((180, 87), (270, 177), 68))
    np.savetxt(folder / "holes.txt", np.where(np.arange(68)[:, None] < 3, np.nan, np.ones((68, 2))))
    return folder


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["text.jpg"], "text.jpg is not an image"),
        (["cut.jpg"], "cut.jpg is damaged or cut short"),
        (["empty.jpg"], "empty.jpg is not an image"),
        (["wall.jpg"], "no face found in wall.jpg: give --box X0 Y0 X1 Y1 around brows"),
        ([""], "the path of the photograph is empty"),
        (["/"], "/ is a folder"),
        (["whole.jpg", *BOX, "--model", "prn", "--refine", "3"], "--refine is for networks of coefficients"),
        (["tiny.png"], "tiny.png is 16×16 pixels"),
        (["missing.jpg"], "missing.jpg does not exist"),
        (["folder.jpg"], "folder.jpg is a folder"),
        (["whole.jpg", "missing.jpg"], "missing.jpg does not exist"),
        (
            ["whole.jpg", *BOX, "--model", "broken.safetensors"],
            "broken.safetensors is cut off or no weights file",
        ),
        (["whole.jpg", *BOX, "--model", "gone.safetensors"], "no weights at gone.safetensors"),
        (["whole.jpg", "--box", "9", "9", "3", "3"], "the box of whole.jpg"),
        (["whole.jpg", "--landmarks", "points.txt"], "points.txt does not hold 68 lines"),
        (["whole.jpg", "--landmarks", "gone.txt"], 'gone.txt does not exist: give a file of 68 lines "x y"'),
        (["whole.jpg", "--landmarks", "short.txt"], "short.txt holds 67 × 2 numbers: write 68 lines"),
        (["whole.jpg", "--landmarks", "none.txt"], 'none.txt holds nothing: write 68 lines "x y", in pixels'),
        (["whole.jpg", *BOX, "-o", "face.stl"], "the extension must be one of .glb, .obj, .ply"),
        (["whole.jpg", *BOX, "-o", "text.jpg/face.glb"], "text.jpg is not a folder"),
        (["whole.jpg", *BOX, "-o", "/proc/nowhere/face.glb"], "cannot write /proc/nowhere/face.glb"),
        (["whole.jpg", *BOX, "--picture", "face.bmp"], "face.bmp: the extension must be .png"),
        (["whole.jpg", *BOX, "--landmarks", "marks.txt"], "landmarks and a box are given for whole.jpg"),
        (
            ["whole.jpg", "--landmarks", "holes.txt"],
            "landmarks of whole.jpg must be finite numbers, 3 of the 68",
        ),
        (["whole.jpg", *BOX, "--device", "cuda"], "device 'cuda' cannot be used on this machine: take cpu"),
        (["whole.jpg", *BOX, "--device", "foo"], "device 'foo' cannot be used on this machine: take cpu"),
        (["whole.jpg", *BOX, "--model", "prn-small"], "unknown model 'prn-small': take one of coefficients,"),
    ],
)
def test_bad_input_is_one_sentence(bad_files, arguments, message):
    before = sorted(p.name for p in bad_files.rglob("*"))
    result = _facet("reconstruct", *arguments, cwd=bad_files)
    assert result.returncode == 2, result.stderr
    assert message in result.stderr
    assert result.stderr.startswith("facet: ")
    assert result.stderr.count("\n") == 1
    assert "Traceback" not in result.stderr
    assert result.stdout == ""
    assert sorted(p.name for p in bad_files.rglob("*")) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-o", "me.OBJ"], "cannot write me_texture.png: it is the photograph that is read"),
        (["-o", "f.obj", "--picture", "me_texture.png"], "me_texture.png: it is the photograph that is read"),
        (["-o", "f.obj", "--picture", "f_texture.png"], "cannot write two files to f_texture.png"),
        (["--picture", "folder.png"], "cannot write folder.png: it is a folder"),
        (["--picture", "/proc/nowhere/f.png"], "cannot write /proc/nowhere/f.png"),
        (["-o", "folder.obj"], "cannot write folder_texture.png: it is a folder"),
    ],
)
def test_all_targets_are_checked_before_any_work(arguments, message, tmp_path, monkeypatch, capsys):
    import facet
    from facet import cli

    def reconstruct(*_, **__):
        raise AssertionError("too late")

    monkeypatch.setattr(facet, "reconstruct", reconstruct)
    monkeypatch.chdir(tmp_path)
    for name in ("folder.png", "folder_texture.png"):
        (tmp_path / name).mkdir()
    (tmp_path / "me_texture.png").write_bytes(b"my photograph")
    assert cli.main(["reconstruct", "me_texture.png", *arguments]) == 2
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1
    assert len([*tmp_path.iterdir()]) == 3


def test_no_weights_say_how_to_make_them(bad_files, tmp_path):
    (tmp_path / "notebooks").mkdir()
    result = _facet("reconstruct", "whole.jpg", *BOX, cwd=bad_files, FACET_HOME=str(tmp_path))
    assert result.returncode == 2
    assert "no weights of prn in" in result.stderr
    assert "facet train prn" in result.stderr


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["reconstruct"], ["data"], ["train"]])
def test_a_wrong_call_is_one_sentence_too(arguments):
    result = _facet(*arguments)
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert "--help`" in result.stderr


def test_help_imports_nothing_large():
    code = (
        "import sys, facet.cli\n"
        "try:\n    facet.cli.main(['reconstruct', '--help'])\nexcept SystemExit:\n    pass\n"
        "print(sorted({'torch', 'numpy', 'PIL'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "[]"
    assert "--box X0 Y0 X1 Y1" in result.stdout
    told = " ".join(result.stdout.split())
    assert (
        told.count("(without --model, a network of position maps then answers") == 2
    )  # --correct, --no-prior
    assert "with any network of coefficients" in told


def test_who_answered_and_the_pose_are_told(bad_files, tmp_path, monkeypatch, capsys):
    """VRN's, where nobody finds landmarks, has no pose."""
    import facet
    from facet import cli
    from facet.reconstruction.result import Pose, Reconstruction

    triangle = np.float32([[0, 0, 0], [0, 9, 0], [9, 0, 0]])
    face = Reconstruction(triangle, np.arange(3)[None], None, None, (20, 20), "vrn")
    monkeypatch.setattr(facet, "reconstruct", lambda *_, **__: face)
    assert cli.main(["reconstruct", str(bad_files / "whole.jpg"), "-o", str(tmp_path / "face.ply")]) == 0
    printed = capsys.readouterr().out
    assert "3 vertices by vrn\n" in printed
    assert "yaw" not in printed
    about = {"system": "coefficients", "variant": "wide", "pose": Pose(-0.3, 2.6, -4.2)}
    about["notes"] = ("coefficients-wide was not taken: correct and prior are for position maps",)
    monkeypatch.setattr(facet, "reconstruct", lambda *_, **__: replace(face, **about))
    assert cli.main(["reconstruct", str(bad_files / "whole.jpg"), "-o", str(tmp_path / "face.ply")]) == 0
    printed = capsys.readouterr().out
    assert "3 vertices by coefficients wide\n" in printed
    assert "yaw 0°, pitch 3°, roll -4°" in printed
    assert "note: coefficients-wide was not taken: --correct and --no-prior are for position maps" in printed


def test_photos_are_listed(capsys):
    from facet import cli

    assert cli.main(["data", "photos"]) == 0
    assert "astronaut: Eileen Collins" in capsys.readouterr().out


def test_studies_are_listed(capsys):
    from facet import cli

    assert cli.main(["study"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("factors: ") and " of 14 cells" in line for line in lines)
    assert any(line.startswith("beards: ") and " of 6 cells" in line for line in lines)


@pytest.mark.parametrize(
    "arguments",
    [
        ["data", "album", "photos", "-o", "a.npz", "--count", "0"],
        ["data", "album", "photos", "-o", "a.npz", "--count", "-1"],
        ["train", "prn", "--workers", "-1"],
        ["study", "factors", "--workers", "0"],
        ["study", "factors", "--workers", "two"],
    ],
)
def test_a_number_of_things_is_above_0(arguments, monkeypatch, capsys):
    from facet import cli

    for command in ("_train", "_study", "_data_album"):
        monkeypatch.setattr(cli, command, lambda options: pytest.fail("the command ran"))
    with pytest.raises(SystemExit, match="2"):
        cli.main(arguments)
    printed = capsys.readouterr().err
    assert f"argument {arguments[-2]}: must be a whole number above 0, got '{arguments[-1]}'" in printed
    assert printed.count("\n") == 1


@pytest.mark.parametrize(
    ("target", "message"),
    [("a.zip", "the extension must be .npz"), ("file/a.npz", "file is not a folder"), ("d.npz", "a folder")],
)
def test_an_album_that_cannot_be_written_is_told_before_a_photo_is_read(
    target, message, tmp_path, monkeypatch, capsys
):
    from facet import cli
    from facet.reconstruction import albums

    monkeypatch.setattr(albums, "make", lambda *_, **__: pytest.fail("photographs were processed"))
    (tmp_path / "file").touch()
    (tmp_path / "d.npz").mkdir()
    assert cli.main(["data", "album", str(tmp_path), "-o", str(tmp_path / target)]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["factors", "--seed", "77"], "factors: no cell that is asked for has seed 77; their seeds: 0, 1"),
        (["fctors"], "no study is called 'fctors'; there are factors, beards"),
        (["factors", "--only", "hair"], "the study factors has no cell 'hair'; there are all-seed0, "),
        (["factors", "--minutes", "0"], "--minutes must be positive"),
        (["factors", "--device", "cuda"], "device 'cuda' cannot be used on this machine"),
    ],
)
def test_a_wrong_study_is_one_sentence(arguments, message, capsys, monkeypatch):
    import torch

    from facet import cli
    from facet.reconstruction import pipeline

    def no_cuda(size, device):
        raise AssertionError("Torch not compiled with CUDA enabled")

    monkeypatch.setattr(pipeline.torch, "empty", no_cuda if "cuda" in arguments else torch.empty)
    assert cli.main(["study", *arguments]) == 2
    printed = capsys.readouterr()
    assert message in printed.err
    assert printed.err.count("\n") == 1
    assert printed.out == ""


def test_systems_are_listed_with_the_models_at_hand(monkeypatch, capsys):
    from facet import cli, networks
    from facet.reconstruction import weights

    small = {name for some in weights.models().values() for name in some} - {"twoview", "rotation", "vrn"}
    there = {(name, "small") for name in (*small, "rotation", "landmarks", "rotation-true")}
    there |= {("prn", "smoke"), ("twoview", "smoke")}
    monkeypatch.setattr(weights, "of_profile", lambda *asked: asked if asked in there else None)
    monkeypatch.delenv("FACET_PROFILE", raising=False)
    assert cli.main(["systems"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 110
    columns = "system network photos parameters with statistics MACs models at hand"
    assert lines[0].split() == columns.split()
    assert any(line.startswith("twoview") and "11,758,633" in line and "11,791,273" in line for line in lines)
    place, systems, found = lines[0].index("models at hand"), [], {}
    for line in lines[1:]:
        systems += line[:place].split()[:1]
        found.setdefault(systems[-1], []).append(line[place:])
    found = {system: " ".join(parts) for system, parts in found.items()}
    assert list(found) == list(networks.SYSTEMS)
    assert found["prn"] == "prn, prn-all-poses, prn-longer, prn-wide-first, prn-wide"
    assert "coefficients-wide" in found["coefficients"]
    assert found["twoview"].startswith("twoview (smoke)")
    assert found["rotation"] == "rotation, rotation-prn"
    assert found["landmarks"] == "landmarks; gives no face"
    assert found["vrn"] == "vrn-filled"
    there.clear()
    assert cli.main(["systems"]) == 0
    assert {line[place:] for line in capsys.readouterr().out.splitlines()[1:]} == {
        "none",
        "none; gives no face",
    }


def test_what_is_no_model_is_told_what_reconstructs():
    from facet.reconstruction import weights

    with pytest.raises(ValueError, match="unknown model 'magic': take one of ") as told:
        weights.find("magic")
    names = str(told.value).split("take one of ")[1].split(", ")
    assert {"prn-longer", "rotation-prn", "coefficients-photos", "vrn-guided-wide"} <= set(names)
    assert not {"landmarks", "rotation-true"} & set(names)
    for name in ("landmarks", "rotation-true"):  # they have no face, but are trained
        assert weights.training_of(name).startswith("facet train ")


def test_a_photo_becomes_a_mesh_and_a_picture(bad_files, tmp_path, monkeypatch, capsys):
    """In this process, with a small untrained network: the whole way, whatever the shape."""
    import torch
    import trimesh

    from facet import cli, networks
    from facet.reconstruction import weights

    torch.manual_seed(0)
    network = networks.build("prn", image_size=32, width=0.1).eval()

    def load(name, device):
        if name != "prn":
            raise FileNotFoundError(name)
        return network

    monkeypatch.setattr(weights, "load", load)
    monkeypatch.setattr(weights, "first_of", lambda *systems: systems[-1])  # whatever weights there are
    output, picture = tmp_path / "new" / "face.glb", tmp_path / "face.png"
    arguments = [
        "reconstruct",
        bad_files / "whole.jpg",
        "-o",
        output,
        "--picture",
        picture,
        "--device",
        "cpu",
    ]
    assert cli.main([str(argument) for argument in arguments]) == 0
    printed = capsys.readouterr().out
    assert "pose: yaw" in printed
    mesh = trimesh.load(output, force="mesh")
    assert len(mesh.faces) > 1000
    assert np.asarray(Image.open(picture)).shape == (320, 960, 3)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["face.png", "new"]


def test_a_reader_that_has_enough_is_no_error():
    """`facet study | head -1`: what is left to say goes nowhere, without a word."""
    command = [sys.executable, "-m", "facet.cli", "study"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


@pytest.mark.parametrize("own", [None, "ACTIVE"])
def test_threads_wait_without_spinning_unless_told_otherwise(own, monkeypatch):
    """A command on a busy machine would take ten times as long."""
    monkeypatch.setenv("OMP_WAIT_POLICY", own or "")
    if own is None:
        monkeypatch.delenv("OMP_WAIT_POLICY")
    assert cli.main(["study"]) == 0
    assert os.environ["OMP_WAIT_POLICY"] == (own or "PASSIVE")


def test_torch_is_loaded_after_that():
    done = "import sys, facet.cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", done], check=False).returncode == 0
