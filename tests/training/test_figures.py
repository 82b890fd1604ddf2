"""Pictures of filters and curves."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from training import figures


def test_each_filter_is_scaled_to_its_own_contrast_in_its_place() -> None:
    filters = torch.tensor([[[[0.0, 1.0]]], [[[5.0, 5.5]]], [[[-3.0, -3.0]]]])
    grid = figures.filter_grid(filters, scale=1, columns=2)
    assert grid.shape == (1 + 2 * 2, 1 + 2 * 3, 3)
    assert grid[1, 1:3, 0].tolist() == [0, 255] and grid[1, 4:6, 0].tolist() == [0, 255]
    assert grid[3, 1:3, 0].tolist() == [0, 0], "a flat filter is black, not noise"
    assert grid[0, 0, 0] == 32 and grid[3, 4, 0] == 32


@pytest.mark.parametrize("count", [1, 2, 5, 16, 17])
def test_grids_are_nearly_square_and_hold_every_filter(count: int) -> None:
    rng = np.random.default_rng(0)
    grid = figures.filter_grid(torch.from_numpy(rng.normal(size=(count, 3, 4, 4)).astype(np.float32)), scale=2)
    columns, rows = (grid.shape[1] // 2 - 1) // 5, (grid.shape[0] // 2 - 1) // 5
    assert columns * rows >= count > columns * (rows - 1) and columns - rows in (0, 1)


def test_two_channels_are_no_picture() -> None:
    with pytest.raises(ValueError, match="2 channels"):
        figures.filter_grid(torch.zeros(3, 2, 4, 4))


def test_pictures_are_png_files_in_new_folders(tmp_path: Path) -> None:
    figures.save_filters(tmp_path / "new" / "filters.png", torch.randn(4, 1, 5, 5))
    figures.save_curve(tmp_path / "new" / "curve.png", [1, 2, 3], [0.9, 0.5, 0.4], "loss", "share")
    for name in ("filters", "curve"):
        with Image.open(tmp_path / "new" / f"{name}.png") as picture:
            picture.load()
            assert picture.format == "PNG" and min(picture.size) > 20
