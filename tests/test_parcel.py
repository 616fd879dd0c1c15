"""Parcels: files come out as they went in, and faults are named."""

import lzma

import pytest
import torch
from safetensors.torch import save_file

from facet import parcel


@pytest.fixture
def files(tmp_path):
    """Two safetensors files: numbers of all widths, of one and of no element."""
    generator = torch.Generator().manual_seed(0)
    smooth = torch.linspace(1.0, 2.0, 3000).view(100, 30) + 1e-6 * torch.rand(100, 30, generator=generator)
    whole = torch.randint(9000, (500, 3), generator=generator)
    tables = {"f": smooth, "h": smooth.half(), "d": smooth.double(), "i": whole, "s": whole.short()}
    save_file(tables | {"one": torch.tensor(3.0), "none": torch.zeros(0, 4)}, tmp_path / "one.safetensors")
    save_file({"u": whole.to(torch.uint8), "b": whole > 4}, tmp_path / "two.safetensors", {"note": "é"})
    return [tmp_path / "one.safetensors", tmp_path / "two.safetensors"]


def test_files_come_out_as_they_went_in(files, tmp_path):
    packed = tmp_path / "caches.parcel"
    parcel.pack(files, packed)
    found = parcel.unpack(packed, tmp_path / "elsewhere")
    assert [path.name for path in found] == ["one.safetensors", "two.safetensors"]
    for before, after in zip(files, found, strict=True):
        assert before.read_bytes() == after.read_bytes()
        assert before != after


def test_sorted_bytes_take_less_room(files, tmp_path):
    parcel.pack(files[:1], tmp_path / "sorted.parcel")
    plain = lzma.compress(files[0].read_bytes(), preset=6)
    assert (tmp_path / "sorted.parcel").stat().st_size < 0.9 * len(plain)


def test_broken_parcels_are_named(files, tmp_path):
    packed = tmp_path / "caches.parcel"
    parcel.pack(files, packed)
    whole = packed.read_bytes()
    for broken in (whole[: len(whole) // 2], b"not a parcel", lzma.compress(b"{}\n")):
        packed.write_bytes(broken)
        with pytest.raises(ValueError, match=r"caches.parcel is no parcel, or is cut off"):
            parcel.unpack(packed, tmp_path / "elsewhere")
    inside = bytearray(lzma.decompress(whole))
    inside[-5] ^= 1
    packed.write_bytes(lzma.compress(bytes(inside)))
    with pytest.raises(ValueError, match=r"two.safetensors in .* wrong checksum"):
        parcel.unpack(packed, tmp_path / "elsewhere")
