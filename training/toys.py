"""A category and a random generator in, a toy out: a few solids, of proportions that no other instance has."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from training.solids import Floats, Solid

Random = np.random.Generator
Point = Sequence[float]


def toy(category: str, rng: Random) -> list[Solid]:
    """A toy of its own proportions and tones, around the origin, within a ball of radius 1; its front looks along x."""
    tones = _tones(rng)
    solids = CATEGORIES[category](rng, tones)
    solids += _extras(rng, tones, *_bounds(solids))
    low, high = _bounds(solids)
    scale = np.eye(3, dtype=np.float32) * np.float32(2 / np.linalg.norm(high - low))
    return [solid.placed(scale, (-(low + high) / 2).astype(np.float32)) for solid in solids]


def _bounds(solids: Sequence[Solid]) -> tuple[Floats, Floats]:
    """The lowest and the highest corner of the box around some solids."""
    reach = [np.abs(solid.axes).sum(1) for solid in solids]
    low = [solid.centre - r for solid, r in zip(solids, reach, strict=True)]
    high = [solid.centre + r for solid, r in zip(solids, reach, strict=True)]
    return np.min(low, 0), np.max(high, 0)


def _tones(rng: Random) -> list[float]:
    """A main tone, a second and a dark one."""
    return [float(rng.uniform(0.15, 0.9)), float(rng.uniform(0.1, 0.95)), float(rng.uniform(0.05, 0.4))]


def _extras(rng: Random, tones: list[float], low: Floats, high: Floats) -> list[Solid]:
    """What any toy may have, so that no category is told by it: a stand, and things stuck on."""
    middle, half = (low + high) / 2, (high - low) / 2
    solids = []
    if rng.random() < 0.5:
        foot = float(low[1]) - 0.04
        width, depth = rng.uniform(0.5, 1.1, 2) * half[[0, 2]]
        solids.append(_box((middle[0], foot, middle[2]), (width, 0.05, depth), float(rng.choice(tones))))
    for _ in range(rng.integers(0, 4)):
        place, size = middle + half * rng.uniform(-0.7, 0.7, 3), rng.uniform(0.08, 0.3, 3)
        stuck = _ball if rng.random() < 0.5 else _box
        solids.append(stuck(place.tolist(), size.tolist(), float(rng.uniform(0.1, 0.9))))
    return solids


def _point(values: Point | npt.NDArray[np.floating]) -> Floats:
    return np.asarray(values, np.float32)


def _ball(centre: Point, half: Point, tone: float) -> Solid:
    return Solid("ball", _point(centre), np.diag(_point(half)), tone)


def _box(centre: Point, half: Point, tone: float, lean: float = 0.0) -> Solid:
    """A box, turned around z by `lean`, in radians."""
    turn = np.array([[np.cos(lean), -np.sin(lean), 0], [np.sin(lean), np.cos(lean), 0], [0, 0, 1]], np.float32)
    axes: Floats = turn @ np.diag(_point(half))
    return Solid("box", _point(centre), axes, tone)


def _rod(start: Point, end: Point, radius: float, tone: float, top: float = 1.0) -> Solid:
    """A cone or cylinder from one point to another."""
    first, last = _point(start), _point(end)
    along = (last - first) / 2
    length = float(np.linalg.norm(along))
    other = np.eye(3, dtype=np.float32)[int(np.abs(along).argmin())]
    side = np.cross(along, other)
    side *= radius / np.linalg.norm(side)
    front = np.cross(side, along) / length
    return Solid("cone", (first + last) / 2, np.stack([side, along, front], 1), tone, top)


def _quadruped(rng: Random, tones: list[float]) -> list[Solid]:
    length, height, width = rng.uniform(0.6, 1.2), rng.uniform(0.25, 0.6), rng.uniform(0.25, 0.5)
    legs, neck, head = rng.uniform(0.15, 0.9), rng.uniform(0.0, 0.8), rng.uniform(0.18, 0.4)
    main, second, _ = tones
    nose = (length + 0.2 + 0.3 * neck, height * 0.5 + neck, 0.0)
    solids = [
        _ball((0, 0, 0), (length, height, width), main),
        _ball(nose, (head * 1.5, head, head * 0.9), main),
        _rod((length * 0.7, 0, 0), nose, head * 0.9, main, 0.8),
        _rod((-length * 0.9, height * 0.3, 0), (-length - 0.3, rng.uniform(-0.3, 0.5), 0), 0.07, second, 0.4),
    ]
    for x in (-0.6 * length, 0.6 * length):
        for z in (-0.55 * width, 0.55 * width):
            foot = (x + rng.uniform(-0.15, 0.15), -height - legs, z)
            solids.append(_rod((x, -height * 0.4, z), foot, 0.14, second, 0.8))
    for z in (-head * 0.6, head * 0.6):
        ear = (nose[0] - head * 0.5, nose[1] + head * 0.6, z)
        solids.append(_rod(ear, (ear[0], ear[1] + rng.uniform(0.15, 0.4), z), 0.1, second, 0.2))
    return solids


def _biped(rng: Random, tones: list[float]) -> list[Solid]:
    height, width, head = rng.uniform(0.4, 0.7), rng.uniform(0.28, 0.5), rng.uniform(0.2, 0.4)
    legs, arms, spread = rng.uniform(0.4, 1.0), rng.uniform(0.4, 0.9), rng.uniform(0.05, 0.4)
    main, second, dark = tones
    solids = [
        _rod((0, -height, 0), (0, height, 0), width * rng.uniform(0.7, 1.1), main, rng.uniform(0.8, 1.3)),
        _ball((0, height + head * 1.1, 0), (head, head * 1.15, head), second),
    ]
    for side in (-1, 1):
        hip = (0.0, -height, side * width * 0.5)
        solids.append(_rod(hip, (rng.uniform(-0.25, 0.25), -height - legs, side * (width * 0.5 + spread)), 0.15, dark))
        reach = rng.uniform(-0.9, 1.4)  # from hanging down to held up
        hand = (rng.uniform(-0.2, 0.5), height * 0.8 - arms * np.cos(reach), side * (width + arms * abs(np.sin(reach))))
        solids.append(_rod((0, height * 0.8, side * width * 0.9), hand, 0.11, second, 0.8))
    if rng.random() < 0.5:  # a hat
        solids.append(_rod((0, height + head * 1.7, 0), (0, height + head * 2.6, 0), head * 0.9, dark, 0.4))
    return solids


def _aircraft(rng: Random, tones: list[float]) -> list[Solid]:
    length, radius = rng.uniform(0.7, 1.4), rng.uniform(0.13, 0.35)
    span, chord, sweep = rng.uniform(0.5, 1.4), rng.uniform(0.15, 0.4), rng.uniform(-0.2, 0.7)
    main, second, dark = tones
    level = rng.uniform(-0.6, 0.6) * radius
    solids = [
        _ball((0, 0, 0), (length, radius, radius), main),
        _box((-length * 0.85, radius + 0.15, 0), (0.16, 0.22, 0.03), second, -0.3),
        _box((-length * 0.85, rng.choice([0.1, 0.35]), 0), (0.12, 0.03, span * 0.35), second),
        _ball((length * 0.45, radius * 0.8, 0), (0.25, radius * 0.6, radius * 0.6), dark),
    ]
    for side in (-1, 1):
        along = _point((-sweep * span / 2, 0, side * span / 2))
        back = np.cross(_point((0, 1, 0)), along)
        axes = np.stack([back * (chord / float(np.linalg.norm(back))), _point((0, 0.035, 0)), along], 1)
        solids.append(Solid("box", _point((0.1, level, 0)) + along, axes, main))
        engine = (0.2 - sweep * span * 0.4, level - 0.12, side * span * 0.4)
        solids.append(_rod((engine[0] - 0.2, *engine[1:]), (engine[0] + 0.2, *engine[1:]), 0.1, second, 0.9))
    return solids


def _wheels(places: Sequence[float], radius: float, width: float, low: float, tone: float) -> list[Solid]:
    """A pair of wheels at each place along x."""
    return [
        _rod((x, low, side * width), (x, low, side * (width + 0.16)), radius, tone) for x in places for side in (-1, 1)
    ]


def _lorry(rng: Random, tones: list[float]) -> list[Solid]:
    length, height, width = rng.uniform(0.4, 1.0), rng.uniform(0.15, 0.55), rng.uniform(0.35, 0.5)
    cab, tall, wheel = rng.uniform(0.22, 0.4), rng.uniform(0.25, 0.5), rng.uniform(0.15, 0.28)
    main, second, dark = tones
    front = length + cab + 0.08
    solids = [
        _box((cab / 2, -0.08, 0), (length + cab, 0.08, width * 0.9), dark),
        _box((front, tall, 0), (cab, tall, width * 0.95), second),
        _box((front + cab * 0.75, tall * 1.4, 0), (cab * 0.3, tall * 0.35, width * 0.8), dark),
    ]
    if rng.random() < 0.5:  # a load, or a tank
        solids.append(_box((0, height, 0), (length, height, width), main))
    else:
        solids.append(_rod((-length, height * 0.9, 0), (length, height * 0.9, 0), height * 0.9, main))
    axles = [-length * 0.8, -length * 0.25, front] if rng.random() < 0.5 else [-length * 0.6, front]
    return solids + _wheels(axles, wheel, width * 0.75, -0.2, dark)


def _saloon(rng: Random, tones: list[float]) -> list[Solid]:
    length, height, width = rng.uniform(0.7, 1.2), rng.uniform(0.16, 0.35), rng.uniform(0.4, 0.55)
    roof, back, wheel = rng.uniform(0.1, 0.4), rng.uniform(-0.4, 0.4), rng.uniform(0.15, 0.28)
    main, second, dark = tones
    solids = [
        _box((0, 0, 0), (length, height, width), main),
        _box((length * 0.95, -height * 0.3, 0), (0.1, height * 0.4, width * 0.95), second),
        _box((back, height + roof, 0), (length * rng.uniform(0.35, 0.5), roof, width * 0.85), main),
        _box((back, height + roof * 0.9, 0), (length * 0.52, roof * 0.6, width * 0.75), dark),
    ]
    if rng.random() < 0.5:  # a bonnet that falls towards the front
        solids.append(_ball((length * 0.55, height * 0.8, 0), (length * 0.45, height * 0.7, width * 0.9), main))
    return solids + _wheels([-length * 0.6, length * 0.6], wheel, width * 0.8, -height, dark)


CATEGORIES: dict[str, Callable[[Random, list[float]], list[Solid]]] = {
    "quadruped": _quadruped,
    "biped": _biped,
    "aircraft": _aircraft,
    "lorry": _lorry,
    "saloon": _saloon,
}
"""What makes a toy of each category."""
