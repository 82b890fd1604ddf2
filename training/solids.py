"""Balls, boxes and cones before a camera in, pictures of them out: ray casting in plain numpy.

Letters: S pixels a side, P a position or direction (3,), A a solid's axes (3, 3).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]
"""Made as float32; what numpy types more loosely."""
FAR = np.float32(np.inf)
SHININESS = 24
"""Exponent of the highlights (Blinn and Phong's model)."""


@dataclass(frozen=True)
class Solid:
    """A unit ball, a box or a cone from -1 to 1, moved to its place.

    Attributes:
        kind: its shape; a cone stands along its second axis.
        centre: P of its middle.
        axes: A, its half-axes as columns, at right angles to each other.
        tone: share of the light that it throws back, 0 to 1.
        top: of a cone, its upper radius as a share of the lower one; 1 is a cylinder.
    """

    kind: Literal["ball", "box", "cone"]
    centre: Floats
    axes: Floats
    tone: float
    top: float = 1.0

    def placed(self, axes: Floats, shift: Floats) -> "Solid":
        """The solid after x -> axes @ (x + shift); axes turn and scale evenly."""
        centre: Floats = axes @ (self.centre + shift)
        return Solid(self.kind, centre, axes @ self.axes, self.tone, self.top)


@dataclass(frozen=True)
class Camera:
    """A pinhole that looks at the origin, upright.

    Attributes:
        eye: P of the pinhole.
        focal: distance of the picture from the pinhole, in pixels.
        size: S.
    """

    eye: Floats
    focal: float
    size: int

    def frame(self) -> tuple[Floats, Floats, Floats]:
        """Unit vectors to the right, up and forward."""
        forward = -self.eye / np.linalg.norm(self.eye)
        right = np.cross(forward, np.array([0, 1, 0], np.float32))
        right /= np.linalg.norm(right)
        return right, np.cross(right, forward), forward


class Surface(NamedTuple):
    """What each pixel shows: whether anything, its normal and its tone, (S, S), (S, S, 3), (S, S) float32."""

    hit: npt.NDArray[np.bool_]
    normal: Floats
    tone: Floats


class Lamp(NamedTuple):
    """Light from far away: the unit vector towards it, and its strength."""

    towards: Floats
    strength: float


class Lighting(NamedTuple):
    """Lamps, the light from everywhere, and how bright the ground is, 0 to 1."""

    lamps: tuple[Lamp, ...]
    ambient: float
    ground: float


def cast(solids: Sequence[Solid], camera: Camera) -> Surface:
    """What the camera sees of some solids: the nearest one in each pixel."""
    size = camera.size
    depth = np.full((size, size), FAR)
    normal, tone = np.zeros((size, size, 3), np.float32), np.zeros((size, size), np.float32)
    offset = np.arange(size, dtype=np.float32) - (size - 1) / 2
    right, up, forward = camera.frame()
    for solid in solids:
        rows, columns = _box_around(solid, camera)
        inverse = np.linalg.inv(solid.axes)
        origin = inverse @ (camera.eye - solid.centre)
        # a pixel's ray: the focal length forward, its column to the right, its row down
        rays: Floats = (
            (inverse @ forward * np.float32(camera.focal))
            + offset[None, columns, None] * (inverse @ right)
            - offset[rows, None, None] * (inverse @ up)
        )
        reached, local = _MEET[solid.kind](origin, rays, solid.top)
        nearer = reached < depth[rows, columns]
        if not nearer.any():
            continue
        world = (local[nearer][:, :, None] * inverse).sum(1)
        depth[rows, columns][nearer] = reached[nearer]
        normal[rows, columns][nearer] = world / np.linalg.norm(world, axis=1, keepdims=True)
        tone[rows, columns][nearer] = solid.tone
    return Surface(np.isfinite(depth), normal, tone)


def shade(surface: Surface, lighting: Lighting, camera: Camera, gloss: float) -> Floats:
    """The surface as it looks in a light: float32 (S, S), 0 to 1 but for highlights.

    Args:
        surface: from `cast`.
        lighting: the light.
        camera: the same as in `cast`.
        gloss: strength of the highlights.
    """
    normal = surface.normal[surface.hit]
    level = np.full(len(normal), lighting.ambient, np.float32)
    shine = np.zeros(len(normal), np.float32)
    for lamp in lighting.lamps:
        level += lamp.strength * np.maximum(normal @ lamp.towards, 0)
        # the camera is far enough away that its direction is one for the whole picture
        halfway = lamp.towards + camera.eye / np.linalg.norm(camera.eye)
        halfway /= np.linalg.norm(halfway)
        shine += lamp.strength * np.maximum(normal @ halfway, 0) ** SHININESS
    picture = np.full(surface.hit.shape, lighting.ground, np.float32)
    picture[surface.hit] = surface.tone[surface.hit] * level + gloss * shine
    return picture


def _box_around(solid: Solid, camera: Camera) -> tuple[slice, slice]:
    """Rows and columns of the pixels that a solid may cover."""
    right, up, forward = camera.frame()
    radius = float(np.linalg.norm(solid.axes))
    seen = solid.centre - camera.eye
    near = float(forward @ seen) - radius
    reach = camera.focal * radius / near
    middle, spans = (camera.size - 1) / 2, []
    for place in (-float(up @ seen), float(right @ seen)):
        at = middle + camera.focal * place / (near + radius)
        # seen from aside, the far half of the ball is not in the middle of the near one's picture
        slack = reach + abs(at - middle) * radius / near + 1
        spans.append(slice(max(0, int(at - slack)), max(0, min(camera.size, int(at + slack) + 1))))
    return spans[0], spans[1]


def _along(rays: Floats, other: Floats) -> Floats:
    """Inner products (h, w). Not by `@`, whose rounding may depend on how many rays there are: at a rim it shows."""
    products: Floats = (rays * other).sum(2)
    return products


def _ball(origin: Floats, rays: Floats, _: float) -> tuple[Floats, Floats]:
    """Where rays meet the unit ball: their parameter (h, w), infinite if they do not, and the normal (h, w, 3)."""
    squares, products = _along(rays, rays), _along(rays, origin)
    inside = products * products - squares * (origin @ origin - 1)
    reached = np.where(inside > 0, (-products - np.sqrt(np.maximum(inside, 0))) / squares, FAR)
    normal: Floats = origin + np.where(inside > 0, reached, np.float32(0))[..., None] * rays
    return reached, normal


def _box(origin: Floats, rays: Floats, _: float) -> tuple[Floats, Floats]:
    """The same for the box from -1 to 1."""
    safe = np.where(np.abs(rays) < 1e-9, np.float32(1e-9), rays)
    entries = (-np.sign(safe) - origin) / safe
    leaves = ((np.sign(safe) - origin) / safe).min(2)
    face = entries.argmax(2)
    reached = np.take_along_axis(entries, face[..., None], 2)[..., 0]
    normal = -np.sign(safe) * (np.arange(3) == face[..., None])
    return np.where(reached < leaves, reached, FAR), normal.astype(np.float32)


def _cone(origin: Floats, rays: Floats, top: float) -> tuple[Floats, Floats]:
    """The same for a cone whose radius falls from 1 at -1 to `top` at 1, with its two discs."""
    mean, slope = np.float32((1 + top) / 2), np.float32((top - 1) / 2)
    flat = np.array([1, -slope * slope, 1], np.float32)
    shifted = origin + np.array([0, mean / slope if slope else 0, 0], np.float32)
    rest = 0.0 if slope else mean * mean
    squares, products = _along(rays * rays, flat), _along(rays, flat * shifted)
    inside = products * products - squares * ((flat * shifted) @ shifted - rest)
    root = np.sqrt(np.maximum(inside, 0))
    squares = np.where(np.abs(squares) < 1e-9, np.float32(1e-9), squares)
    side = np.full(squares.shape, FAR)
    for way in (-1, 1):
        at = (-products + way * root) / squares
        height = origin[1] + at * rays[..., 1]
        side = np.where((inside > 0) & (np.abs(height) < 1) & (at > 0) & (at < side), at, side)
    met = origin + np.where(np.isfinite(side), side, np.float32(0))[..., None] * rays
    normal: Floats = met * flat
    normal[..., 1] = -slope * (mean + slope * met[..., 1])
    down = np.where(np.abs(rays[..., 1]) < 1e-9, np.float32(1e-9), rays[..., 1])
    for end, radius in ((-1.0, 1.0), (1.0, top)):
        at = (end - origin[1]) / down
        x, z = origin[0] + at * rays[..., 0], origin[2] + at * rays[..., 2]
        disc = (x * x + z * z < radius * radius) & (at > 0) & (at < side)
        side = np.where(disc, at, side)
        normal[disc] = (0, end, 0)
    return side, normal


_MEET = {"ball": _ball, "box": _box, "cone": _cone}
