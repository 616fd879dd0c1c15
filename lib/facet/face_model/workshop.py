"""Where wearables are made: assets in, fitted items out. Build time only."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from facet.face_model import files as cache
from facet.face_model import fitting, proxies
from facet.face_model.fitting import Fitted, Room
from facet.face_model.mannequin import Mannequin, Surface
from facet.face_model.model import load

FLOOR = -205.0  # mm under the middle of the head, where long hair ends
BURIED = 8.0  # mm under the skin, where hair is left out
LONGEST = 28.0  # mm that hair may hang before the eyes to be drawn up; what hangs lower is left out
PEOPLE = 24  # heads on which nothing may poke through, with faces made for what sits on the face
FACES = (
    "jawOpen",
    "mouthSmileLeft",
    "mouthSmileRight",
    "browInnerUp",
    "browDownLeft",
    "browDownRight",
    "mouthPucker",
)
NOSE = np.array([0.0, 0.0, 2.0])  # mm that glasses are moved by: noses differ
LENS = {"glasses": 0.08, "sunglasses": 1.0}  # alpha


@dataclass
class Made:
    """One finished item.

    Attributes:
        fitted: its mesh; texture: a PNG (see `proxies.encode`).
        shade: (V,) share of the surrounding that it leaves each coarse vertex of the head.
    """

    item: object
    fitted: Fitted
    texture: bytes
    shade: np.ndarray


@dataclass
class Workshop:
    """The mannequin and its people, loaded once.

    Attributes:
        calm, lively: coarse heads (V, 3) at rest and making faces, the reference first, and their skins.
    """

    folder: Path
    mannequin: Mannequin
    calm: list[tuple[torch.Tensor, Surface]]
    lively: list[tuple[torch.Tensor, Surface]]
    room: Room

    @classmethod
    def open(cls, folder: Path) -> "Workshop":
        """Load the face model, anny and some people of the bank."""
        from safetensors import safe_open

        model = load()
        mannequin = Mannequin.load(model)
        with safe_open(cache.where().people, "pt") as handle:
            alpha = handle.get_tensor("train.alpha_id")[:PEOPLE].float()
        names, count = model.expression_names, torch.arange(PEOPLE)
        faces = torch.zeros(PEOPLE, len(names))
        faces[count, torch.tensor([names.index(FACES[k % len(FACES)]) for k in count])] = 1
        reference = torch.from_numpy(mannequin.reference).float()
        calm = [reference, *model.coarse(alpha)]
        lively = [reference, *model.coarse(alpha, faces)]
        calm, lively = ([(head, mannequin.surface(head)) for head in heads] for heads in (calm, lively))
        return cls(folder, mannequin, calm, lively, Room(calm[0][1]))

    def make(self, item) -> Made:
        """Fit one item of the catalogue."""
        proxy = proxies.read(self.folder / f"{item.asset}.json")
        if item.without:
            proxy = proxy.part(~np.isin(fitting.components(proxy)[proxy.triangles[:, 0]], item.without))
        grey, tint, alpha = self._layers(item)
        proxy, fitted = self._fit(item, proxy)
        if item.within is not None:
            alpha = alpha * fitting.middle(fitted, item.within, alpha.shape)
        fitted = fitting.finish(fitted, proxy.place, grey, alpha, self.room)
        if item.kind == "hair":
            fitted.normals = fitting.fluffy(fitted, self.calm[0][1], item.fluff)
        if item.kind in ("teeth", "glasses", "hat") or item.fluff == 1:
            fitted.strands = np.zeros_like(fitted.strands)
        if item.kind == "teeth":  # the voxels of the head are closed over them
            fitted.occlusion = np.clip((fitted.places[:, 2] - 40) / 60, 0, 1)
        return Made(item, fitted, proxies.encode(grey, tint, alpha), self._shade(item, fitted, alpha))

    def _fit(self, item, proxy: proxies.Proxy) -> tuple[proxies.Proxy, Fitted]:
        if item.kind == "lashes":
            return proxy, fitting.bind_lashes(proxy, self.mannequin)
        if item.kind == "teeth":
            proxy = proxy.part(self._front(proxy))
            return proxy, fitting.bind_teeth(proxy, self.mannequin)
        if item.kind == "glasses":
            fitted = fitting.bind(proxy, self.mannequin, skull=False)
            return proxy, fitted.placed(self.mannequin, fitted.places + NOSE)
        skull = item.kind in ("hair", "hat")
        fitted = fitting.bind(proxy, self.mannequin, skull=skull)
        proxy = proxy.part(self._seen(item, fitted)[proxy.triangles].all(axis=1))
        fitted = fitting.bind(proxy, self.mannequin, skull=skull)
        if item.lift is not None:
            fitted = fitting.lifted(fitted, self.mannequin, self.calm[0][1], item.lift)
        if item.part is not None:
            fitted = fitting.parted(fitted, self.mannequin, self.calm[0][1], item.part)
        heads = self.calm if skull else self.lively
        return proxy, fitting.clear(fitted, self.mannequin, *zip(*heads, strict=True), item.gap)

    def _seen(self, item, fitted: Fitted) -> np.ndarray:
        """(n,) bool, vertices that are above the floor, not deep under the skin, and not before the eyes."""
        seen = (fitted.places[:, 1] > FLOOR) & (self.calm[0][1].distance(fitted.places)[0] > -BURIED)
        if item.lift is not None:
            seen &= fitting.hanging(fitted, self.mannequin, item.lift) < LONGEST
        return seen

    def _front(self, proxy: proxies.Proxy) -> np.ndarray:
        """(m,) bool, triangles of the teeth and of the gums that an open mouth shows."""
        places, lower = proxy.on(self.mannequin.base), fitting.lower_teeth(proxy)
        joined = lower[proxy.triangles]
        return (joined.all(axis=1) | ~joined.any(axis=1)) & (places[proxy.triangles][..., 2].min(axis=1) > 52)

    def _layers(self, item) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Grey, tint and alpha, (S, S) each."""
        path = (self.folder / item.asset).parent / "textures" / item.image
        image = proxies.read_image(path, black_is_empty=item.kind == "hat")
        alpha = image[..., 3]
        if item.kind == "hat":
            tint = np.clip((proxies.redness(image) - 0.2) / 0.1, 0, 1) * (not item.name.startswith("fedora"))
            alpha = np.ones_like(alpha)
        elif item.kind == "teeth":
            tint, alpha = np.clip((proxies.redness(image) - 0.25) / 0.2, 0, 1), np.ones_like(alpha)
        elif item.kind == "glasses":
            tint = ((alpha > 0.3) & (alpha < 0.75)).astype(float)
            alpha = np.where(tint > 0, LENS[item.name], alpha)
        else:
            tint, alpha = np.zeros_like(alpha), proxies.without_specks(alpha)
            tint[int(0.8 * len(tint)) :] = item.name == "headband"
        share = np.maximum(image[..., 3], 1e-6)
        first = proxies.even_grey(image, item.spread, share * (1 - tint), item.grain)
        second = proxies.even_grey(image, item.spread, share * tint + 1e-9)
        return first * (1 - tint) + second * tint, tint, alpha

    def _shade(self, item, fitted: Fitted, alpha: np.ndarray) -> np.ndarray:
        reference = self.mannequin.reference
        if item.kind not in ("hair", "hat", "beard"):
            return np.ones(len(reference))
        surface = self.calm[0][1]
        normals = surface.distance(reference)[1]
        return self.room.only(fitted, alpha).open_share(reference + normals, normals)

    def tucked(self, made: list[Made]) -> list[np.ndarray]:
        """For each item (n,) bits: hair over places of the scalp that the first, second, … hat covers."""
        hats = [one for one in made if one.item.kind == "hat"]
        surface = self.calm[0][1]
        bits = []
        for one in made:
            bits.append(np.zeros(len(one.fitted.places), int))
            if one.item.kind != "hair":
                continue
            distance, normal = surface.distance(one.fitted.places)
            feet = one.fitted.places - distance[:, None] * normal
            for k, hat in enumerate(hats):
                bits[-1] |= self.room.only(hat.fitted, np.ones((1, 1))).above(feet, normal) << k
        return bits
