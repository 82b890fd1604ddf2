"""Files that are whole or absent."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from training import checkpoints

ARRAYS = {
    "float": torch.tensor([1.5, float("nan"), -0.0]),
    "half": torch.tensor([[1.0]], dtype=torch.float16),
    "count": torch.tensor(7),
    "wide": torch.tensor([2**40], dtype=torch.int64),
}


def test_arrays_come_back_to_the_bit(tmp_path: Path) -> None:
    path = tmp_path / "new" / "state.npz"
    checkpoints.save(path, {**ARRAYS, "numpy": np.arange(3, dtype=np.uint8)})
    got = checkpoints.load(path)
    assert got.keys() == {*ARRAYS, "numpy"}
    for name, value in ARRAYS.items():
        assert got[name].dtype == value.dtype and got[name].shape == value.shape
        assert got[name].numpy().tobytes() == value.numpy().tobytes()


def test_equal_arrays_give_equal_files(tmp_path: Path) -> None:
    checkpoints.save(tmp_path / "a.npz", ARRAYS)
    checkpoints.save(tmp_path / "b.npz", ARRAYS)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


@pytest.mark.parametrize("kind", ["arrays", "json"])
def test_a_write_that_fails_leaves_the_old_file(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(value: int) -> None:
        if kind == "json":
            checkpoints.write_json(tmp_path / "state", {"value": value})
        else:
            checkpoints.save(tmp_path / "state", {"value": torch.tensor(value)})

    def full(_: Any) -> None:
        raise OSError("no space left on device")

    write(1)
    before = (tmp_path / "state").read_bytes()
    monkeypatch.setattr(checkpoints.os, "fsync", full)  # type: ignore[attr-defined]  # the module's own import
    with pytest.raises(OSError, match="no space"):
        write(2)
    assert (tmp_path / "state").read_bytes() == before


def test_pickles_are_not_read(tmp_path: Path) -> None:
    np.savez(tmp_path / "bad.npz", value=np.array([object()]))
    with pytest.raises(ValueError, match="allow_pickle"):
        checkpoints.load(tmp_path / "bad.npz")
