"""Features as the probe sees them: standardised, map by map, never stored."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from training import features
from training.features import FeatureFile, Features, blocks, part, room, write
from training.scaling import DesignMatrix, Scaling

MAPS, PLACES = 6, 5


def drawn(rows: int = 600, seed: int = 0) -> Tensor:
    """Rectified features (N, 30) of six maps of different strength, one of them off, one rarely on, as float16."""
    draw = torch.Generator().manual_seed(seed)
    strength = torch.tensor([1.0, 30.0, 0.01, 1.0, 1.0, 1.0]).repeat_interleave(PLACES)
    out = (torch.randn(rows, MAPS * PLACES, generator=draw) * strength).relu()
    out[:, 3 * PLACES : 4 * PLACES] = 0
    out[:, 4 * PLACES] = 0
    out[7, 4 * PLACES] = 1
    return out.half()


def explicit(stored: Tensor, scaling: Scaling) -> Tensor:
    """The design matrix (N, D + 1), float64."""
    standard = (stored.double() - scaling.mean.double()) * scaling.scale.double()
    return torch.cat([standard, torch.ones(len(stored), 1, dtype=torch.float64)], 1)


def test_each_map_gets_unit_mean_variance_and_every_feature_zero_mean() -> None:
    stored = drawn()
    scaling = Scaling.fit(stored, MAPS)
    standard = explicit(stored, scaling)[:, :-1]
    assert float(standard.mean(0).abs().max()) < 1e-4
    variance = standard.square().mean(0).view(MAPS, PLACES).mean(1)
    expected = torch.tensor([1, 1, 1, 0, 1, 1], dtype=torch.float64)
    torch.testing.assert_close(variance, expected, rtol=1e-4, atol=1e-4)


def test_a_rare_feature_is_not_blown_up() -> None:
    stored = drawn()
    standard = explicit(stored, Scaling.fit(stored, MAPS))
    # divided by its own deviation, the one image that has it would stand at sqrt(600) = 24
    assert float(standard[7, 4 * PLACES]) < 4


@pytest.mark.parametrize("value", [0.0, 1.0, 0.1, 3.3, 7.77, 1000.5])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_a_map_that_never_changes_is_left_at_zero(value: float, dtype: torch.dtype) -> None:
    stored = drawn().to(dtype)
    stored[:, :PLACES] = value
    scaling = Scaling.fit(stored, MAPS)
    assert not scaling.scale[:PLACES].any(), "rounding errors were taken for a signal"
    assert scaling.scale[PLACES : 3 * PLACES].all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_products_are_those_of_the_explicit_matrix(dtype: torch.dtype) -> None:
    stored = drawn().to(dtype)
    matrix = DesignMatrix(stored, Scaling.fit(stored, MAPS))
    wide = explicit(stored, matrix.scaling)
    draw = torch.Generator().manual_seed(1)
    weights = torch.randn(matrix.columns, 7, generator=draw)
    values = torch.randn(matrix.rows, 7, generator=draw)
    for got, wanted in (
        (matrix.times(weights), wide @ weights.double()),
        (matrix.transposed_times(values), wide.T @ values.double()),
    ):
        assert got.dtype == torch.float32
        assert float((got - wanted).abs().max()) <= 1e-5 * float(wanted.abs().max())


def test_folded_weights_work_on_raw_features() -> None:
    stored = drawn()
    matrix = DesignMatrix(stored, Scaling.fit(stored, MAPS))
    weights = torch.randn(matrix.columns, 4, generator=torch.Generator().manual_seed(2))
    raw, offset = matrix.fold(weights)
    torch.testing.assert_close(stored.float() @ raw + offset, matrix.times(weights), rtol=1e-4, atol=1e-3)


def both_stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Features]:
    """The same features in memory and in a file."""
    stored = drawn()
    memory = room(len(stored), stored.shape[1], tmp_path / "unused")
    monkeypatch.setattr(features, "MEMORY_BYTES", 0)
    file = room(len(stored), stored.shape[1], tmp_path / "features.f16")
    assert isinstance(memory, Tensor) and isinstance(file, FeatureFile)
    for start in range(0, len(stored), 77):
        for store in (memory, file):
            write(store, start, stored[start : start + 77].float())
    return [memory, file]


def test_features_in_a_file_are_those_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memory, file = both_stores(tmp_path, monkeypatch)
    assert (tmp_path / "features.f16").stat().st_size == 2 * 600 * 30 and not (tmp_path / "unused").exists()
    monkeypatch.setattr(features, "BLOCK_ROWS", 101)
    for store in (memory, file, part(memory, 0, 600)):
        rows = torch.cat([block.clone() for _, _, block in blocks(store)])
        assert torch.equal(rows, drawn().float())
        assert torch.equal(torch.cat([block.clone() for _, _, block in blocks(store, 50, 420)]), rows[50:420])
    for start, stop in ((0, 10), (255, 258), (599, 600)):
        one, other = (next(blocks(part(store, start, stop)))[2] for store in (memory, file))
        assert torch.equal(one, other) and len(one) == stop - start
    one, other = (DesignMatrix(store, Scaling.fit(store, MAPS)).times(torch.ones(31, 2)) for store in (memory, file))
    assert torch.equal(one, other)


def test_a_file_that_ends_early_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, file = both_stores(tmp_path, monkeypatch)
    with (tmp_path / "features.f16").open("r+b") as raw:
        raw.truncate(1000)
    with pytest.raises(OSError, match=r"features\.f16 ends at byte 1000"):
        list(blocks(file))
