"""The rendered set: geometry that can be checked by hand, and files that follow small NORB's rules."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from tests.training.stereo import GRID, write_rendered
from training import matrices, rendered, solids
from training.rendered import LABELS, Grid, cameras, draw, main
from training.solids import Camera, Lamp, Lighting, Solid, Surface, cast, shade
from training.toys import toy

FRONT = Camera(np.array([0, 0, 10], np.float32), 200.0, 96)
UNIT = np.eye(3, dtype=np.float32)


def solid(kind: str, centre: tuple[float, float, float], axes: npt.NDArray[np.float32] = UNIT, top: float = 1) -> Solid:
    return Solid(kind, np.array(centre, np.float32), axes, 0.5, top)  # type: ignore[arg-type]  # a literal


def extent(surface: Surface) -> tuple[int, int, int, int]:
    """First and last row, first and last column of what is seen."""
    rows, columns = np.nonzero(surface.hit)
    return int(rows.min()), int(rows.max()), int(columns.min()), int(columns.max())


def test_a_ball_is_seen_as_a_disc_of_the_right_size() -> None:
    seen = cast([solid("ball", (0, 0, 0))], FRONT)
    radius = 200 / np.sqrt(99)  # the tangent cone of a unit ball ten away
    assert seen.hit.sum() == pytest.approx(np.pi * radius**2, rel=0.01)
    assert extent(seen) == (28, 67, 28, 67)
    normal = seen.normal[seen.hit]
    np.testing.assert_allclose(np.linalg.norm(normal, axis=1), 1, atol=1e-5)
    assert seen.normal[47, 47, 2] > 0.99 and seen.normal[30, 47, 1] > 0.8 and seen.normal[47, 66, 0] > 0.8


def test_a_box_is_seen_as_its_near_face() -> None:
    seen = cast([solid("box", (0, 0, 0))], FRONT)
    half = 200 / 9  # the face is nine away
    assert seen.hit.sum() == pytest.approx((2 * half) ** 2, rel=0.02)
    np.testing.assert_allclose(seen.normal[seen.hit], np.broadcast_to([0, 0, 1], (seen.hit.sum(), 3)), atol=1e-6)


def test_a_cone_is_wider_below_and_shows_its_upper_disc_from_above() -> None:
    seen = cast([solid("cone", (0, 0, 0), top=0.25)], FRONT)
    first, last, _, _ = extent(seen)
    widths = seen.hit[first : last + 1].sum(1)
    assert widths[0] < 0.35 * widths[-1] and (np.diff(widths[2:-2]) >= 0).all()
    above = Camera(np.array([0, 10, 0.1], np.float32), 200.0, 96)
    disc = cast([solid("cone", (0, 0, 0), top=0.25)], above)
    assert disc.normal[47, 47, 1] > 0.999
    tube = cast([solid("cone", (0, 0, 0))], FRONT)
    assert set(tube.hit[tube.hit.any(1)].sum(1)[3:-3].tolist()) <= {40, 41}, "a cylinder is straight"
    assert np.abs(tube.normal[47][tube.hit[47]][:, 1]).max() < 1e-6


def test_the_nearest_solid_is_seen() -> None:
    near, far = solid("ball", (0, 0, 3), 0.2 * UNIT), solid("box", (0, 0, 0))
    for order in ([near, far], [far, near]):
        seen = cast(order, FRONT)
        assert seen.normal[47, 47 + 5, 0] > 0.5, "the small ball in front curves"
        assert seen.normal[47, 47 + 15, 2] > 0.999, "the box behind is flat"


def test_only_pixels_that_a_solid_may_cover_are_cast_and_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    scenes = [toy(label, np.random.default_rng((9, n))) for label in LABELS for n in range(4)]
    quick = [cast(scene, camera) for scene in scenes for camera in cameras(4)]
    monkeypatch.setattr(solids, "_box_around", lambda *_: (slice(0, 96), slice(0, 96)))
    for got, wanted in zip(quick, [cast(scene, camera) for scene in scenes for camera in cameras(4)], strict=True):
        np.testing.assert_array_equal(got.hit, wanted.hit)
        np.testing.assert_array_equal(got.normal, wanted.normal)


def test_light_comes_from_its_lamp_and_the_ground_is_even() -> None:
    seen = cast([solid("ball", (0, 0, 0))], FRONT)
    right = Lighting((Lamp(np.array([1, 0, 0], np.float32), 1.0),), 0.2, 0.7)
    picture = shade(seen, right, FRONT, gloss=0.0)
    assert picture[47, 65] > 0.45 and picture[47, 30] == pytest.approx(0.5 * 0.2)
    assert (picture[~seen.hit] == np.float32(0.7)).all()
    assert (shade(seen, right, FRONT, gloss=0.5) >= picture).all()


def test_what_is_nearer_than_the_middle_moves_against_what_is_further_away() -> None:
    left, right = cameras(0)
    towards = (left.eye + right.eye) / 2
    towards /= np.linalg.norm(towards)

    def shift(distance: float) -> float:
        """Columns that a small ball lies further left in the right view."""
        ball = [Solid("ball", distance * towards, 0.1 * UNIT, 0.5)]
        columns = [np.nonzero(cast(ball, camera).hit)[1].mean() for camera in (left, right)]
        return float(columns[0] - columns[1])

    assert shift(0) == pytest.approx(0, abs=0.2)
    assert shift(1) > 3 and shift(-1) < -3


def test_toys_fill_the_picture_and_stay_in_it() -> None:
    for category, label in enumerate(LABELS):
        pictures = draw(category, 3, Grid.spread(2, 2, 1), seed=5)
        assert pictures.dtype == np.uint8 and pictures.shape == (2, 2, 1, 2, 96, 96)
        for view in pictures.reshape(-1, 96, 96):
            ground = int(np.median(view[:4]))
            off = np.abs(view.astype(int) - ground) > 30
            rows, columns = np.nonzero(off)
            assert off.sum() > 250, label
            assert min(rows.min(), columns.min()) >= 5 and max(rows.max(), columns.max()) <= 90, label


def test_the_same_seed_draws_the_same_and_instances_differ() -> None:
    grid = Grid.spread(1, 1, 1)
    first = draw(0, 1, grid, seed=0)
    np.testing.assert_array_equal(first, draw(0, 1, grid, seed=0))
    for other in (draw(0, 2, grid, seed=0), draw(0, 1, grid, seed=1), draw(1, 1, grid, seed=0)):
        assert (np.abs(first.astype(int) - other.astype(int)) > 30).mean() > 0.01


def test_poses_and_lightings_are_spread_and_numbered_like_small_norbs() -> None:
    assert Grid() == Grid.spread(9, 18, 6)
    grid = Grid.spread(2, 3, 2)
    assert grid.elevations == (0, 4) and grid.azimuths == (0, 12, 24) and grid.lightings == (0, 3)
    info = grid.info((4, 9))
    assert info.dtype == np.int32 and info.shape == (2 * 2 * 3 * 2 * 5, 4)
    assert info[:11].tolist() == [[4, 0, 0, 0]] * 5 + [[4, 0, 0, 3]] * 5 + [[4, 0, 12, 0]]
    with pytest.raises(SystemExit):
        main(["unused", "--elevations", "10"])


def test_the_files_hold_each_toy_under_its_category_and_pose(tmp_path: Path) -> None:
    write_rendered(tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(rendered.FILES)
    for split, instances in rendered.INSTANCES.items():
        views, categories, info = (matrices.read(tmp_path / f"{split}-{kind}.mat") for kind in ("dat", "cat", "info"))
        assert views.shape == (150, 2, 96, 96) and categories.shape == (150,) and info.shape == (150, 4)
        for row in (0, 7, 149):
            instance, _, azimuth, lighting = info[row].tolist()
            assert instance in instances
            own = draw(int(categories[row]), instance, GRID, 0)
            place = (0, GRID.azimuths.index(azimuth), GRID.lightings.index(lighting))
            np.testing.assert_array_equal(views[row], own[place])


def test_the_command_draws_and_sums_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "new"), "--elevations", "1", "--azimuths", "1", "--lightings", "1"]) == 0
    assert "50 pairs of images" in capsys.readouterr().out
    assert len(list((tmp_path / "new").iterdir())) == 6
