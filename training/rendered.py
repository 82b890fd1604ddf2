"""`python -m training.rendered DIR`: draws a stereo set in small NORB's file format, for tests and demonstrations.

It stands in for a set that not everybody may have, and is not that set: toys made of balls, boxes and cones, before two
cameras, in plain light without shadows. Figures measured on it say that the binocular pipeline works, and nothing of
how well it would do on photographs. Layout, numbering and the split by instance are small NORB's (`training.norb`); the
files' names and the categories are its own.
"""

import argparse
import itertools
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from training import matrices
from training.solids import Camera, Floats, Lamp, Lighting, cast, shade
from training.toys import CATEGORIES, toy

NAME = "rendered-stereo"
LABELS = tuple(CATEGORIES)
LICENSE = "MIT, drawn by this repository's training.rendered"
TRAIN, TEST = f"{NAME}-training", f"{NAME}-testing"
INSTANCES = {TRAIN: (4, 6, 7, 8, 9), TEST: (0, 1, 2, 3, 5)}
"""Which of the ten toys of each category a split shows, as in small NORB."""
FILES = tuple(f"{split}-{kind}.mat" for split in INSTANCES for kind in ("dat", "cat", "info"))

SIZE = 96
DISTANCE, BASELINE = 6.0, 6.0 * 7.5 / 40
"""From the cameras to the toy, and between them, in radii of the toy; small NORB's were 40 cm and 7.5 cm."""
FOCAL = 230.0
"""In pixels; the ball around a toy fills the inner 77 of 96, most toys the inner 64."""
GLOSS, NOISE = 0.12, 0.015
"""Strength of the highlights; deviation of the noise of the camera, of 1 for white."""


def _lighting(ambient: float, ground: float, *lamps: tuple[float, float, float, float]) -> Lighting:
    """Lamps as x (to the right), y (up), z (towards the cameras) and strength."""
    towards = [np.array(lamp[:3], np.float32) for lamp in lamps]
    return Lighting(
        tuple(Lamp(t / np.linalg.norm(t), lamp[3]) for t, lamp in zip(towards, lamps, strict=True)), ambient, ground
    )


LIGHTINGS = (
    _lighting(0.45, 0.80, (0.0, 1.0, 0.3, 0.6)),
    _lighting(0.30, 0.62, (-1.0, 0.8, 0.3, 0.8)),
    _lighting(0.30, 0.66, (1.0, 0.8, 0.3, 0.8)),
    _lighting(0.20, 0.50, (0.0, 0.5, 1.0, 0.9)),
    _lighting(0.25, 0.72, (-1.0, 0.6, -0.4, 0.7), (1.0, 0.6, 0.4, 0.4)),
    _lighting(0.35, 0.40, (0.0, 1.0, -0.8, 0.9)),
)


@dataclass(frozen=True)
class Grid:
    """The poses and lightings that a set shows, by small NORB's numbers.

    Attributes:
        elevations: of 0 to 8; 30 + 5 n degrees above the ground.
        azimuths: of 0, 2, … 34; 10 n degrees around.
        lightings: of 0 to 5.
    """

    elevations: tuple[int, ...] = tuple(range(9))
    azimuths: tuple[int, ...] = tuple(range(0, 36, 2))
    lightings: tuple[int, ...] = tuple(range(6))

    @classmethod
    def spread(cls, elevations: int, azimuths: int, lightings: int) -> "Grid":
        """So many of each, evenly spread."""
        picked = []
        for all_, count in zip(
            (cls.elevations, cls.azimuths, cls.lightings), (elevations, azimuths, lightings), strict=True
        ):
            picked.append(tuple(all_[i * len(all_) // count] for i in range(count)))
        return cls(*picked)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Counts of elevations, azimuths and lightings."""
        return len(self.elevations), len(self.azimuths), len(self.lightings)

    def info(self, instances: Sequence[int]) -> npt.NDArray[np.int32]:
        """Instance, elevation, azimuth, lighting of each sample, int32 (N, 4), in the order of small NORB's test set.

        The category goes fastest: five consecutive rows are alike.
        """
        rows = list(itertools.product(instances, self.elevations, self.azimuths, self.lightings))
        return np.repeat(np.array(rows, np.int32), len(LABELS), axis=0)


def cameras(elevation: int) -> tuple[Camera, Camera]:
    """The left and the right one; both look at the toy."""
    angle = np.deg2rad(30 + 5 * elevation)
    middle = DISTANCE * np.array([0, np.sin(angle), np.cos(angle)], np.float32)
    left, right = (middle + np.array([side * BASELINE / 2, 0, 0], np.float32) for side in (-1, 1))
    return Camera(left, FOCAL, SIZE), Camera(right, FOCAL, SIZE)


def draw(category: int, instance: int, grid: Grid, seed: int) -> npt.NDArray[np.uint8]:
    """All pictures of a toy, uint8 (elevations, azimuths, lightings, 2, 96, 96); the same for the same seed."""
    solids = toy(LABELS[category], np.random.default_rng((seed, category, instance)))
    noise = np.random.default_rng((seed, category, instance, 1))
    out = np.empty((*grid.shape, 2, SIZE, SIZE), np.uint8)
    for (e, elevation), (a, azimuth) in itertools.product(enumerate(grid.elevations), enumerate(grid.azimuths)):
        angle = np.deg2rad(10 * azimuth)
        turn: Floats = np.array(
            [[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]], np.float32
        )
        turned = [solid.placed(turn, np.zeros(3, np.float32)) for solid in solids]
        for view, camera in enumerate(cameras(elevation)):
            surface = cast(turned, camera)
            for light, lighting in enumerate(grid.lightings):
                picture = shade(surface, LIGHTINGS[lighting], camera, GLOSS)
                picture += NOISE * noise.standard_normal(picture.shape, np.float32)
                out[e, a, light, view] = (picture * 255).round().clip(0, 255)
    return out


def write(folder: Path, grid: Grid, seed: int = 0) -> None:
    """Draw a set and write its six files.

    Args:
        folder: where; made if missing.
        grid: what it shows.
        seed: of the toys' shapes and the noise.
    """
    folder.mkdir(parents=True, exist_ok=True)
    categories = range(len(LABELS))
    with tqdm(total=10 * len(LABELS), unit="toy") as bar:
        for split, instances in INSTANCES.items():
            info = grid.info(instances)
            views = np.empty((len(instances), *grid.shape, len(LABELS), 2, SIZE, SIZE), np.uint8)
            for (row, instance), category in itertools.product(enumerate(instances), categories):
                views[row, :, :, :, category] = draw(category, instance, grid, seed)
                bar.update()
            matrices.write(folder / f"{split}-dat.mat", views.reshape(len(info), 2, SIZE, SIZE))
            matrices.write(folder / f"{split}-cat.mat", np.resize(np.array(categories, np.int32), len(info)))
            matrices.write(folder / f"{split}-info.mat", info)


def main(arguments: list[str] | None = None) -> int:
    """Run it."""
    parser = argparse.ArgumentParser(
        prog="python -m training.rendered",
        description="Draw a stereo set in the file format of small NORB: a stand-in for tests and demonstrations.",
    )
    parser.add_argument("folder", type=Path, help="where the files go")
    parser.add_argument("--elevations", type=int, choices=range(1, 10), default=9, help="(%(default)s)")
    parser.add_argument("--azimuths", type=int, choices=range(1, 19), default=18, help="(%(default)s)")
    parser.add_argument("--lightings", type=int, choices=range(1, 7), default=6, help="(%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the toys' shapes (%(default)s)")
    options = parser.parse_args(arguments)
    grid = Grid.spread(options.elevations, options.azimuths, options.lightings)
    write(options.folder, grid, options.seed)
    print(f"{2 * 25 * int(np.prod(grid.shape)):,} pairs of images under {options.folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
