"""Two processes against one: the same weights; killed and started again: the same bytes."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.training import job
from tests.training.drawn import dataset
from training import checkpoints, parallel
from training.pipeline import Pipeline

ROOT = Path(__file__).parents[2]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def together(folder: Path, kill_step: int = 0) -> list[int]:
    """Run two processes as torchrun does; returns their exit statuses."""
    common = os.environ | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": "2"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.training.job", str(folder), str(kill_step)],
            cwd=ROOT,
            env=common | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        errors = [process.communicate(timeout=100)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    for process, error in zip(processes, errors, strict=True):
        assert process.returncode in (0, -signal.SIGKILL), error
    return [process.returncode for process in processes]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("two")
    assert together(folder) == [0, 0]
    return folder


def test_two_processes_learn_the_weights_of_one(two: Path, tmp_path: Path) -> None:
    data = dataset(train=job.IMAGES)
    one = Pipeline(job.RUN, data, tmp_path / "run", tmp_path / "models", "").run()
    got, wanted = (checkpoints.load(folder / "run" / "layer1.npz") for folder in (two, tmp_path))
    assert wanted["progress"][0] == job.STEPS == 50
    for name, value in wanted.items():
        if name.startswith("layer."):
            assert float((got[name] - value).abs().max()) <= 1e-5 * float(value.abs().max()), name
    assert torch.equal(got["wins"], wanted["wins"])
    features, logits = (
        [np.load(folder / "models" / job.RUN.name / "1" / "golden.npz")[name] for folder in (two, tmp_path)]
        for name in ("features", "logits")
    )
    assert np.abs(features[0] - features[1]).max() <= 1e-4 * np.abs(features[1]).max()
    assert (logits[0].argmax(1) == logits[1].argmax(1)).mean() >= 0.9
    assert one.bundle.exists()


def test_a_job_that_was_killed_ends_with_the_same_bytes(two: Path, tmp_path: Path) -> None:
    assert together(tmp_path, kill_step=33) == [-signal.SIGKILL, -signal.SIGKILL]
    assert checkpoints.load(tmp_path / "run" / "layer1.npz")["progress"][0] >= 31
    assert together(tmp_path) == [0, 0]
    for name in ("model.onnx", "filters.npz", "golden.npz"):
        first, second = (folder / "models" / job.RUN.name / "1" / name for folder in (two, tmp_path))
        assert first.read_bytes() == second.read_bytes(), name


@pytest.mark.parametrize(("start", "stop", "world"), [(0, 10, 3), (5, 6, 4), (7, 7, 2), (0, 64, 2)])
def test_shares_cover_the_range_evenly(start: int, stop: int, world: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "world", lambda: world)
    shares = []
    for rank in range(world):
        monkeypatch.setattr(parallel, "rank", lambda rank=rank: rank)
        shares.append(parallel.share(start, stop))
    assert [number for bounds in shares for number in range(*bounds)] == list(range(start, stop))
    sizes = [last - first for first, last in shares]
    assert max(sizes) - min(sizes) <= 1


def test_alone_everything_is_its_own_sum() -> None:
    values = torch.tensor([1.0, 2.0])
    assert torch.equal(parallel.sum_(values.clone()), values) and parallel.total(5) == 5
    assert torch.equal(parallel.concatenate(values), values) and parallel.is_first() and parallel.world() == 1
