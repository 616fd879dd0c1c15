"""Portraits of the second generation: people with hair, beards, glasses and clothes, as a camera takes them.

A picture is a pure function of the tables of a `Cast` (who they are and what they look like) and of `Shots`
(how they stand, what lights them, what stands in front and behind, lens and sensor).
"""

from dataclasses import dataclass, fields
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

from facet.face_model import PARTS, FaceModel
from facet.face_model import files as cache
from facet.face_model.skins import decode
from facet.rendering.interpolation import averaged, corner_blended, rows_of
from facet.rendering.shading import LUMINANCE
from facet.rendering.texture import Pyramid
from facet.synthetic import scene as scenes
from facet.synthetic.expressions import draw_expressions
from facet.synthetic.eyes import EyePose, Eyes, catch_light, eye_colour, open_eyes, pose_eyes
from facet.synthetic.figure import Figure
from facet.synthetic.finish import Finish, apply_finish, draw_finish
from facet.synthetic.lights import Lights, draw_lights
from facet.synthetic.neck import bend, draw_neck
from facet.synthetic.occluders import Occluder, draw_occluders, paint_occluders
from facet.synthetic.openings import Openings
from facet.synthetic.poses import Poses
from facet.synthetic.reflect import Surface, reflect, strand_shine
from facet.synthetic.rooms import background
from facet.synthetic.skin import Skin, atlas, bake, bumped, draw_skin
from facet.synthetic.skin_paint import under_collar
from facet.synthetic.subjects import Subjects, Table, Views, draw_subjects, draw_views
from facet.synthetic.wardrobe import Dressed, Outfit, Wardrobe, colour_of, draw_outfit, dress, shade_on_head

INSIDE = {"mouth": (0.13, 0.028, 0.022), "tongue": (0.3, 0.09, 0.08), "eye_cavity": (0.3, 0.14, 0.12)}
ROUGH = {"skin": 0.46, "hair": 0.8, "plain": 0.35}
METER = 0.24  # mean luminance of people that a camera aims at
GLINT = 0.16  # radians, how large lights look in an eye


class Bundle:
    """Tables that belong together; each is stored under its own name."""

    def state(self) -> dict[str, Tensor]:
        """Name → tensor, for safetensors; each table has its own prefix."""
        return {k: v for f in fields(self) for k, v in getattr(self, f.name).state(f.name).items()}

    @classmethod
    def from_state(cls, state: dict[str, Tensor]):
        """The bundle that `state` gave."""
        return cls(**{f.name: f.type.from_state(state, f.name) for f in fields(cls)})

    def rows(self, index):
        """The rows of an index, slice or mask, of every table."""
        return type(self)(**{f.name: getattr(self, f.name).rows(index) for f in fields(self)})

    def to(self, device):
        """The bundle on another device."""
        return type(self)(**{f.name: getattr(self, f.name).to(device) for f in fields(self)})

    def __len__(self) -> int:
        return len(getattr(self, fields(self)[0].name))


@dataclass
class Cast(Bundle):
    """N people in one session each."""

    subjects: Subjects
    skin: Skin
    outfit: Outfit


@dataclass
class Stance(Table):
    """M pictures: neck: (M, 3) degrees of the head against the torso; strands: (M,) seed of hair's gaps."""

    neck: Tensor
    strands: Tensor


@dataclass
class Shots(Bundle):
    """M pictures of a cast; `views.subject` says of whom."""

    views: Views
    stance: Stance
    lights: Lights
    occluder: Occluder
    finish: Finish


@dataclass
class Atelier:
    """What portraits need besides tables, on one device.

    Attributes:
        charts, skins: of `skin.atlas`, by texture size; names: of the photographed skins.
    """

    model: FaceModel
    head: Figure
    charts: dict
    skins: dict
    names: list[str]
    eyes: Eyes
    wardrobe: Wardrobe
    openings: Openings

    @cached_property
    def zones(self):
        """`truth.Zones` of the model: it takes a second."""
        from facet.synthetic.truth import Zones

        return Zones.of(self.model)

    @classmethod
    def open(cls, model: FaceModel, device: str | torch.device = "cpu") -> "Atelier":
        """Load the cached skins, eyes and wardrobe beside a loaded face model."""
        from safetensors import safe_open

        with safe_open(cache.ensure().skins, "pt") as stored:
            names = cache.read_notes(stored)["names"].split("\n")
            textures = decode(stored.get_tensor("textures"), stored.get_tensor("offsets")).to(device)
        charts, skins = atlas(model, textures)
        return cls(
            model,
            Figure.of(model),
            charts,
            skins,
            names,
            open_eyes(model),
            Wardrobe.open(device),
            Openings.of(model),
        )


def draw_cast(
    generator: torch.Generator,
    atelier: Atelier,
    bank: dict[str, Tensor],
    rows: Tensor,
    *,
    split: str = "train",
) -> Cast:
    """The people of some rows of a bank, as they look today."""
    model = atelier.model
    subjects = draw_subjects(generator, model, bank, rows)
    asked = draw_expressions(generator, model.expression_names, len(rows))
    subjects.alpha_exp = atelier.openings.settle(subjects.alpha_id, asked)
    skin = draw_skin(generator, subjects, atelier.names, split=split)
    outfit = draw_outfit(generator, atelier.wardrobe, subjects, split=split)
    worn = outfit.hair >= 0
    skin.hair = outfit.hair_colour.clone()  # painted hair, and the scalp between modelled strands
    skin.scalp[:, 0] = torch.where(worn, 0.95, outfit.crop)
    skin.scalp[:, 1] += torch.where(worn, 0.0, outfit.recession)
    skin.scalp[:, 3] *= (~worn).float()
    return Cast(subjects, skin, outfit)


def draw_shots(
    generator: torch.Generator,
    atelier: Atelier,
    cast: Cast,
    poses: Poses,
    *,
    image_size: int,
    shift: float = 0.0,
    **options,
) -> Shots:
    """Pictures of a cast at poses (N, P), to be taken with that `shift`; options as `draw_views`."""
    views = draw_views(generator, atelier.model, cast.subjects, poses, image_size=image_size, **options)
    count = len(views)
    neck = draw_neck(generator, views.yaw, views.pitch, views.roll)
    strands = torch.randint(2**31, (count,), generator=generator)
    chosen = cast.subjects.rows(views.subject)
    marks = atelier.model.blend(chosen.alpha_id, chosen.alpha_exp)[:, atelier.model.landmarks]
    landmarks = views.project(marks, shift)[0][..., :2]
    hair = cast.outfit.hair_colour[views.subject]
    return Shots(
        views,
        Stance(neck, strands),
        draw_lights(generator, count),
        draw_occluders(generator, landmarks, image_size, hair=hair),
        draw_finish(generator, count, image_size=image_size),
    )


@dataclass(frozen=True)
class Company:
    """With how many people a picture's person was worked on, and which of them it was.

    Products of matrices round by the number of their rows, and some by the row: with its company, a picture
    that was made in a group is made again alone, bit for bit on the same machine.
    """

    people: int = 1
    place: int = 0


@dataclass
class Exposure:
    """M pictures, and what they are made of: their ground truth is read off it.

    Attributes:
        pictures: (M, 3, S, S) in [0, 1], sRGB; scene: their N samples; albedo: (N, 3) of these, linear.
        cover: (M, 1, S, S) share of each pixel that an occluder takes.
    """

    pictures: Tensor
    scene: scenes.Scene
    albedo: Tensor
    cover: Tensor


def photograph(atelier: Atelier, cast: Cast, shots: Shots, **options) -> Tensor:
    """Pictures (M, 3, size, size) in [0, 1], sRGB; options of `expose`."""
    return expose(atelier, cast, shots, **options).pictures


@torch.no_grad()
def expose(
    atelier: Atelier,
    cast: Cast,
    shots: Shots,
    *,
    size: int,
    shift: float,
    split: str = "train",
    company: Company | None = None,
) -> Exposure:
    """Take pictures.

    Args:
        size: side of the pictures; shift: pixels from the crop's corner to the picture's (both ways).
        split: family of backgrounds.
        company: of the one person that the pictures show, if it is not alone; see `illuminate`.
    """
    seeds = shots.views.background.tolist()
    behind = torch.stack([background(seed, size, split=split) for seed in seeds])
    scene, light, albedo = illuminate(atelier, cast, shots, size=size, shift=shift, company=company)
    layers = [*light.unbind(1), torch.ones_like(light[:, 0])]
    layers = averaged(layers, scene.fragments, scenes.SUPERSAMPLING)
    radiance = layers[:, :3] + behind.to(layers) * (1 - layers[:, 3:])
    person = (layers[:, :3] * layers.new_tensor(LUMINANCE)[:, None, None]).sum((1, 2, 3))
    mean = person / layers[:, 3].sum((1, 2)).clamp(min=1.0)
    radiance = radiance * metered(mean)[:, None, None, None]
    radiance, cover = paint_occluders(radiance, shots.occluder)
    return Exposure(apply_finish(radiance, shots.finish), scene, albedo, cover)


def metered(luminance: Tensor) -> Tensor:
    """(M,) gain of cameras that see people of mean luminance (M,): half way to METER, in stops."""
    return (METER / luminance.clamp(min=1e-3)).sqrt().clamp(0.5, 3.0)


def illuminate(
    atelier: Atelier, cast: Cast, shots: Shots, *, size: int, shift: float, company: Company | None = None
) -> tuple[scenes.Scene, Tensor, Tensor]:
    """The scene of some pictures, the light (N, 3) that its samples send to the camera, their albedo.

    Raises:
        ValueError: there is a company, but the pictures show several people.
    """
    model, views = atelier.model, shots.views
    who, person = views.subject.unique(return_inverse=True)
    if company is not None:
        if len(who) != 1:
            raise ValueError(f"pictures of {len(who)} people are their own company")
        who, person = who.expand(company.people), person + company.place
    some = cast.rows(who)
    coarse = model.coarse(some.subjects.alpha_id, some.subjects.alpha_exp)
    head = model.head_of(coarse)
    dressed = dress(atelier.wardrobe, some.outfit, coarse)
    dressed = Dressed(**{f.name: getattr(dressed, f.name)[person] for f in fields(dressed)})
    shade = model.head_of(shade_on_head(atelier.wardrobe, some.outfit)[..., None])[..., 0]
    open_ = (atelier.eyes.occlusion * shade)[person]
    scene = scenes.build(
        atelier.head.triangles, atelier.wardrobe,
        atelier.head.hang(bend(head[person], model, shots.stance.neck)), dressed, views, shots.lights,
        torch.cat([open_, open_[:, atelier.head.rim]], dim=1), size=size, shift=shift,
        seed=shots.stance.strands,
    )  # fmt: skip
    axes = views.rotation() * scene.points.new_tensor([1.0, -1.0, 1.0])[:, None]
    textures = bake(atelier.charts, atelier.skins, some.skin, size=256 if size < 200 else 512)
    parts = Parts(atelier, some, textures, pose_eyes(atelier.eyes, head))
    light, albedo = [], []
    for picture, seen in enumerate(scene.pictures()):
        sent, surface = parts.light(seen, axes[picture], int(person[picture]), shots.lights, picture)
        light.append(sent)
        albedo.append(surface.albedo)
    return scene, torch.cat([part.mT for part in light], 1).mT, torch.cat([part.mT for part in albedo], 1).mT


@dataclass
class Parts:
    """Everything that colours people: baked skin, eyes, what they wear."""

    atelier: Atelier
    cast: Cast
    textures: Pyramid
    eyes: EyePose

    def light(
        self, seen: scenes.Scene, axes: Tensor, person: int, lights: Lights, picture: int
    ) -> tuple[Tensor, Surface]:
        """(N, 3) light of one picture's samples, and what sends it.

        Args:
            axes: (3, 3) of the head as columns, image frame.
        """
        count = seen.counts[0][0]
        surface = Surface(
            soft=count,
            albedo=torch.empty_like(seen.normals),
            specular=torch.empty_like(seen.occlusion),
            roughness=torch.full_like(seen.occlusion, ROUGH["skin"]),
            wrap=torch.zeros_like(seen.occlusion),
            normals=seen.normals.clone(),
            points=seen.points,
            occlusion=seen.occlusion.clone(),
        )
        part = self.atelier.head.part.index_select(0, seen.triangle[:count])
        self._skin(seen, part, axes, person, surface)
        ball = self._eyes(seen, part, axes, person, surface)
        hairy = self._worn(seen, person, surface)
        light, key = reflect(surface, lights, seen.shadows, picture)
        worn = slice(count, None)
        shine = strand_shine(seen.strands[worn], surface.albedo[worn], key[worn], lights, picture)
        light[worn] += shine * (surface.specular[worn] * surface.occlusion[worn] * hairy)[:, None]
        toward = lights.direction[picture, 0].expand(len(ball), 3)
        mirrored = catch_light(surface.normals[ball], toward, torch.full_like(key[ball], GLINT))
        strength = 2.0 * lights.colour[picture, 0] + 0.8 * lights.sh[picture, 0].clamp(min=0)
        light[ball] += (mirrored * surface.specular[ball])[:, None] * strength
        return light, surface

    def _skin(self, seen: scenes.Scene, part: Tensor, axes: Tensor, person: int, surface: Surface) -> None:
        """Skin and cloth from the baked textures, the mouth's inside in plain colours."""
        head = self.atelier.head
        own = slice(0, len(part))
        uv = corner_blended(head.corner_uv, seen.triangle[own], seen.weights[own])
        grid = torch.stack([2 * uv[:, 0] - 1, 1 - 2 * uv[:, 1]], dim=1)
        texture = self.textures.texels[person : person + 1]
        side = int(self.textures.sizes[0, 0])
        texture = texture[:, : side * side].mT.view(1, -1, side, side)
        sampled = F.grid_sample(texture, grid[None, None], padding_mode="border", align_corners=False)
        sampled = sampled[0, :, 0].mT
        for name, colour in INSIDE.items():
            some = (part == PARTS.index(name)).nonzero()[:, 0]
            sampled[some] = sampled.new_tensor([*colour, 0.8, 0.0, 0.0])
        surface.albedo[own] = sampled[:, :3]
        surface.specular[own] = 2 * sampled[:, 3]
        surface.wrap[own] = 1.0
        body = (part == PARTS.index("body")).nonzero()[:, 0]
        surface.wrap[body] = self._bare(seen.triangle[body], rows_of(seen.weights, body), person)
        surface.normals[own] = bumped(seen.normals[own], sampled[:, 4:], axes)

    def _bare(self, triangle: Tensor, weights: Tensor, person: int) -> Tensor:
        """(N,) 1 at points of the body's triangles above the collar, 0 on cloth."""
        model = self.atelier.model
        chest = triangle >= len(model.head_triangles)  # all cloth
        corners = model.head_rest[model.head_triangles[triangle.masked_fill(chest, 0)]]
        collar, depth = self.cast.skin.weave[person, 2:]
        under = under_collar((corners * weights[..., None]).sum(1), collar, depth)
        return ((under < 0) & ~chest).to(weights.dtype)

    def _eyes(self, seen: scenes.Scene, part: Tensor, axes: Tensor, person: int, surface: Surface) -> Tensor:
        """Eyeballs; returns (K,) which samples they are."""
        model, eyes = self.atelier.model, self.atelier.eyes
        left, right = PARTS.index("eye_left"), PARTS.index("eye_right")
        ball = ((part == left) | (part == right)).nonzero()[:, 0]
        side = (part[ball] == right).long()
        corners = model.head_rest[model.head_triangles[seen.triangle[ball]]]
        place = eyes.place((corners * seen.weights[ball, :, None]).sum(1), side)
        of = torch.full_like(side, person)
        colour = eye_colour(eyes, self.eyes, place, side, of, self.cast.skin, of)
        surface.albedo[ball] = colour.albedo
        surface.specular[ball] = colour.specular
        surface.roughness[ball] = colour.roughness
        surface.wrap[ball] = 0.3
        surface.normals[ball] = colour.normal @ axes.mT
        surface.occlusion[ball] *= colour.occlusion
        return ball

    def _worn(self, seen: scenes.Scene, person: int, surface: Surface) -> Tensor:
        """What is worn; returns (K,) 1 where samples of it show strands, else 0."""
        worn = slice(surface.soft, None)
        item = seen.item[worn]
        of = torch.full_like(item, person)
        albedo, _, gloss = colour_of(self.atelier.wardrobe, self.cast.outfit, of, item, seen.uv)
        hairy = seen.strands[worn].square().sum(1) > 0.25
        surface.albedo[worn] = albedo
        surface.specular[worn] = gloss
        surface.roughness[worn] = torch.where(hairy, ROUGH["hair"], ROUGH["plain"])
        return hairy.to(gloss.dtype)
