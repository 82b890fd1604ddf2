"""Runs into memory that is there already give what plain runs give, from any number of threads."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime as ort  # type: ignore[import-untyped]  # it ships no types
import pytest
from numpy.typing import NDArray

from service.bundle import Precision, find_versions, load_bundle
from service.devices import CUDA
from service.errors import InferenceFailed
from service.runner import CpuRunner, CudaRunner, Runner, _Rung
from service.session import Session
from tests.bundles import smooth_images

WANTS = frozenset(("features", "logits"))
IMAGES = smooth_images(9, 12, 12, 3)


@pytest.fixture(scope="module")
def session(models_dir: Path) -> Session:
    return Session(load_bundle(models_dir / "cifar10-shallow" / "10"), "cpu", 2)


@pytest.fixture(scope="module")
def plain(models_dir: Path) -> ort.InferenceSession:
    file = models_dir / "cifar10-shallow" / "10" / "model.onnx"
    return ort.InferenceSession(file, providers=["CPUExecutionProvider"])


def expected(plain: ort.InferenceSession, images: NDArray[np.uint8], name: str) -> NDArray[np.float32]:
    rows: NDArray[np.float32] = plain.run([name], {"images": images})[0]
    return rows


# The one for CUDA does the same on any device; what is special about it is the ladder of batch sizes.
@pytest.mark.parametrize("kind", ["cpu", "ladder"])
def test_rows_are_those_of_a_plain_run(kind: str, plain: ort.InferenceSession, session: Session) -> None:
    runner: Runner = CpuRunner(plain, session.outputs) if kind == "cpu" else CudaRunner(plain, session.outputs, "cpu")
    for start, stop in ((0, 9), (0, 1), (3, 8), (2, 5), (0, 9)):
        for wants in (WANTS, frozenset(("logits",))):
            rows = runner.run(IMAGES[start:stop], wants)
            assert set(rows) == wants
            for name, actual in rows.items():
                wanted = expected(plain, IMAGES[start:stop], name)
                np.testing.assert_allclose(actual, wanted, rtol=1e-5, atol=1e-6)


def test_ladders_of_two_models_never_run_at_a_time(
    plain: ort.InferenceSession, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    # while one model's graph is captured, another's copy or launch would break both
    inside, most = [0], [0]
    whole = _Rung.run

    def watched(rung: _Rung, images: NDArray[np.uint8], wants: frozenset[str]) -> dict[str, NDArray[np.float32]]:
        inside[0] += 1
        most[0] = max(most[0], inside[0])
        time.sleep(0.002)  # the interpreter goes on to the other thread meanwhile
        rows = whole(rung, images, wants)
        inside[0] -= 1
        return rows

    monkeypatch.setattr(_Rung, "run", watched)
    runners = [CudaRunner(plain, session.outputs, "cpu") for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(runner.run, IMAGES[:2], WANTS) for runner in runners * 10]:
            done.result()
    assert most[0] == 1


@pytest.mark.gpu
def test_models_on_cuda_load_at_a_time(models_dir: Path) -> None:
    if CUDA not in ort.get_available_providers():
        pytest.skip("this onnxruntime has no CUDA: loading several models at a time was NOT tested")
    bundle = load_bundle(models_dir / "cifar10-shallow" / "10")

    def load() -> float:
        session = Session(bundle, "cuda", 1)
        session.warm_up()
        return session.check_golden().relative_error

    with ThreadPoolExecutor(4) as pool:
        for loaded in [pool.submit(load) for _ in range(4)]:
            assert loaded.result() < 1e-3


@pytest.mark.gpu
def test_rows_on_cuda_are_those_of_the_cpu(models_dir: Path, plain: ort.InferenceSession) -> None:
    if CUDA not in ort.get_available_providers():
        pytest.skip("this onnxruntime has no CUDA: CUDA graphs and the ladder on a device were NOT tested")
    session = Session(load_bundle(models_dir / "cifar10-shallow" / "10"), "cuda", 1)
    session.warm_up()
    for count in (1, 2, 3, 9):
        for name, actual in session.run(IMAGES[:count], WANTS).items():
            np.testing.assert_allclose(actual, expected(plain, IMAGES[:count], name), rtol=1e-3, atol=1e-4)


def test_threads_do_not_write_over_each_other(plain: ort.InferenceSession, session: Session) -> None:
    runner = CpuRunner(plain, session.outputs)
    wanted = [expected(plain, IMAGES[n : n + 2], "features") for n in range(4)]
    barrier = threading.Barrier(4)

    def work(n: int) -> bool:
        for _ in range(50):
            rows = runner.run(IMAGES[n : n + 2], WANTS)["features"]
            barrier.wait(10)
            if not np.allclose(rows, wanted[n], rtol=1e-5, atol=1e-6):
                return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(4)))


def test_a_run_alone_takes_all_threads_and_several_share_them(
    session: Session, models_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[str] = []
    inside, leave = threading.Event(), threading.Event()

    class Recorded:
        def __init__(self, name: str, runner: Runner) -> None:
            self._name, self._runner = name, runner

        def run(self, images: NDArray[np.uint8], wants: frozenset[str]) -> dict[str, NDArray[np.float32]]:
            used.append(self._name)
            if len(used) == 1:
                inside.set()
                assert leave.wait(10)
            return self._runner.run(images, wants)

    session = Session(load_bundle(models_dir / "cifar10-shallow" / "10"), "cpu", 2)
    assert session.runs == 2 and session._runner is not session._alone
    session._runner, session._alone = Recorded("narrow", session._runner), Recorded("wide", session._alone)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(session.run, IMAGES[:1], WANTS)
        assert inside.wait(10)
        session.run(IMAGES[:1], WANTS)
        leave.set()
        first.result()
    # they have overlapped just now, so another may come at any moment: this one leaves a core to it
    monkeypatch.setattr("service.session._CALM_S", 3600.0)
    session.run(IMAGES[:1], WANTS)
    monkeypatch.setattr("service.session._CALM_S", 0.0)
    session.run(IMAGES[:1], WANTS)
    assert used == ["wide", "narrow", "narrow", "wide"]


def test_a_failed_run_is_an_error_of_ours_and_leaves_the_session_usable(session: Session) -> None:
    with pytest.raises(InferenceFailed):
        session.run(IMAGES[:, :5], WANTS)
    assert session.run(IMAGES, WANTS)["features"].shape == (9, 288)


@pytest.mark.parametrize(("threads", "runs", "expected_runs"), [(1, 0, 1), (2, 0, 2), (16, 0, 4), (2, 3, 3), (1, 2, 2)])
def test_the_number_of_runs(models_dir: Path, threads: int, runs: int, expected_runs: int) -> None:
    session = Session(load_bundle(models_dir / "mnist-shallow" / "1"), "cpu", threads, runs, max_batch=7)
    session.warm_up()
    assert (session.runs, session.max_batch) == (expected_runs, 7)
    assert session.check_golden().ok


@pytest.mark.parametrize("avx512", [False, True])
@pytest.mark.parametrize(
    ("name", "precision", "expected"),
    [("cifar10-shallow", "exact", (3, 5)), ("cifar10-shallow", "fast", (8, 8)), ("mnist-shallow", "exact", (7, 12))],
)
def test_the_size_of_a_batch_that_nobody_chose(
    name: str, precision: Precision, expected: tuple[int, int], avx512: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.devices.has_avx512", lambda: avx512)
    models = Path(__file__).parents[2] / "models"
    bundle = load_bundle(models / name / find_versions(models)[name][0])
    assert Session(bundle, "cpu", 1, precision=precision).max_batch == expected[avx512]


def test_golden_images_are_computed_one_by_one_beside_other_runs(models_dir: Path) -> None:
    session = Session(load_bundle(models_dir / "mnist-shallow" / "1"), "cpu", 1, max_batch=7)
    sizes: list[int] = []
    plain = session.run

    def watched(images: NDArray[np.uint8], wants: frozenset[str]) -> dict[str, NDArray[np.float32]]:
        sizes.append(len(images))
        return plain(images, wants)

    session.run = watched  # type: ignore[method-assign]
    for expected in ([7, 7, 2], [1] * 16, [1] * 16):
        assert session.check_golden().ok and sizes == expected
        sizes.clear()


def test_small_models_have_large_batches(session: Session) -> None:
    assert session.max_batch == 32
