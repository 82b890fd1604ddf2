"""Training a layer: it learns, it resumes to the same bits, it stops when it diverges."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.training.drawn import layer, photos
from training import checkpoints, fit
from training.config import LayerConfig
from training.fit import DivergedError, LayerFit
from training.journal import Journal
from training.sca import SparseConvAutoencoder
from training.splits import DataError
from training.whitening import PixelScaling

IMAGES = photos(160, 10, 11, 3).images
STEPS = 3 * (160 // 32)
NEVER = 1e9
AT_ONCE = -1.0


class KilledError(Exception):
    """The process ends here."""


@dataclass
class Prepare:
    """Scales pixels; before a given step it does something.

    Attributes:
        at: what to do before which step, counted from 1 within this attempt.
        blank: steps whose images come out as zeros.
    """

    at: dict[int, Callable[[], None]]
    blank: frozenset[int] = frozenset()
    calls: int = 0

    def __call__(self, pixels: Tensor) -> Tensor:
        self.calls += 1
        self.at.get(self.calls, lambda: None)()
        scaled: Tensor = PixelScaling()(pixels)
        return scaled * 0 if self.calls in self.blank else scaled - 0.5


def die() -> None:
    raise KilledError


def fitted(
    folder: Path, prepare: Callable[[Tensor], Tensor] | None = None, config: LayerConfig | None = None, seed: int = 3
) -> SparseConvAutoencoder:
    """One attempt at training; its checkpoint and log are in `folder`."""
    made = SparseConvAutoencoder(config or layer(), 3, seed)
    with Journal(folder) as journal:
        LayerFit(made, IMAGES, prepare or Prepare({}), folder / "layer.npz", journal, seed).run()
    return made


def epochs(folder: Path) -> list[dict[str, Any]]:
    records = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [{k: v for k, v in r.items() if k != "time"} for r in records if r["event"] == "epoch"]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("uninterrupted")
    fitted(folder)
    return folder


def assert_same_end(folder: Path, expected: Path) -> None:
    """Weights, optimiser, progress and the epochs' figures are equal to the bit."""
    got, wanted = checkpoints.load(folder / "layer.npz"), checkpoints.load(expected / "layer.npz")
    assert got.keys() == wanted.keys()
    assert all(torch.equal(got[name], wanted[name]) for name in wanted)
    assert epochs(folder)[-1] == epochs(expected)[-1]


def test_the_loss_falls_and_no_map_dies(tmp_path: Path) -> None:
    fitted(tmp_path, config=layer(epochs=8))
    logged = epochs(tmp_path)
    assert [entry["epoch"] for entry in logged] == list(range(1, 9))
    losses = [entry["loss/epoch"] for entry in logged]
    assert losses == sorted(losses, reverse=True) and losses[-1] < 0.7 * losses[0]
    assert logged[-1]["maps/dead"] == 0 and logged[-1]["maps/least_active_share"] > 0.05


@pytest.mark.parametrize(("saved", "killed"), [(1, 2), (4, 5), (5, 6), (6, 11), (9, 15)])
def test_killed_after_a_checkpoint_it_ends_the_same(
    saved: int, killed: int, tmp_path: Path, uninterrupted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def save_every(seconds: float) -> Callable[[], None]:
        return lambda: monkeypatch.setattr(fit, "CHECKPOINT_SECONDS", seconds)

    monkeypatch.setattr(fit, "CHECKPOINT_SHARE", float("inf"))
    save_every(NEVER)()
    script = {saved: save_every(AT_ONCE), saved + 1: save_every(NEVER), killed: die}
    with pytest.raises(KilledError):
        fitted(tmp_path, Prepare(script))
    rest = Prepare({})
    assert checkpoints.load(tmp_path / "layer.npz")["progress"][0] == saved
    fitted(tmp_path, rest)
    assert rest.calls == STEPS - saved, "it did not go on from the checkpoint"
    assert_same_end(tmp_path, uninterrupted)


def test_killed_before_any_checkpoint_it_starts_again(tmp_path: Path, uninterrupted: Path) -> None:
    with pytest.raises(KilledError):
        fitted(tmp_path, Prepare({7: die}))
    rest = Prepare({})
    fitted(tmp_path, rest)
    assert rest.calls == STEPS
    assert_same_end(tmp_path, uninterrupted)


def test_killed_at_every_step_it_ends_the_same(
    tmp_path: Path, uninterrupted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fit, "CHECKPOINT_SECONDS", AT_ONCE)
    monkeypatch.setattr(fit, "CHECKPOINT_SHARE", float("inf"))
    for _ in range(STEPS - 1):
        with pytest.raises(KilledError):
            fitted(tmp_path, Prepare({2: die}))
    fitted(tmp_path)
    assert_same_end(tmp_path, uninterrupted)


def test_a_finished_layer_is_not_trained_again(uninterrupted: Path) -> None:
    before = checkpoints.load(uninterrupted / "layer.npz")
    rest = Prepare({})
    made = fitted(uninterrupted, rest)
    assert rest.calls == 0
    assert torch.equal(made.encoder.detach(), before["layer.encoder"])


def test_another_seed_gives_another_layer(tmp_path: Path, uninterrupted: Path) -> None:
    other = fitted(tmp_path, seed=4)
    assert not torch.equal(other.encoder.detach(), checkpoints.load(uninterrupted / "layer.npz")["layer.encoder"])


def test_every_image_is_seen_once_an_epoch(tmp_path: Path) -> None:
    seen: list[Tensor] = []

    def watch(pixels: Tensor) -> Tensor:
        seen.extend(pixels.clone())
        return Prepare({})(pixels)

    fitted(tmp_path, watch)
    first, second = ({image.numpy().tobytes() for image in seen[i : i + 160]} for i in (0, 160))
    assert first == second == {image.tobytes() for image in IMAGES}
    assert not all(torch.equal(a, b) for a, b in zip(seen[:160], seen[160:320], strict=True)), "always the same order"


def test_a_nan_stops_the_run_and_leaves_the_last_good_checkpoint(
    tmp_path: Path, uninterrupted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fit, "CHECKPOINT_SECONDS", AT_ONCE)
    monkeypatch.setattr(fit, "CHECKPOINT_SHARE", float("inf"))
    plain = Prepare({})

    def break_(pixels: Tensor) -> Tensor:
        x = plain(pixels)
        if plain.calls == 4:
            x[3, 1, 2, 2] = float("nan")
        return x

    with pytest.raises(DivergedError, match="step 4"):
        fitted(tmp_path, break_)
    state = checkpoints.load(tmp_path / "layer.npz")
    assert state["progress"][0] == 3 and all(torch.isfinite(value).all() for value in state.values())
    fitted(tmp_path)
    assert_same_end(tmp_path, uninterrupted)


@pytest.mark.filterwarnings("ignore:overflow")
def test_a_learning_rate_that_is_too_high_stops_the_run(tmp_path: Path) -> None:
    with pytest.raises(DivergedError, match="learning rate"):
        fitted(tmp_path, config=layer(learning_rate=1e12, warmup_steps=1))


def test_a_blank_image_that_is_a_batch_of_its_own_is_none_to_stop_at(tmp_path: Path) -> None:
    fitted(tmp_path, Prepare({}, blank=frozenset({3})), config=layer(batch_images=1, epochs=1))
    assert epochs(tmp_path)[0]["images"] == len(IMAGES)


def test_images_that_are_all_blank_stop_the_run(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nothing to learn"):
        fitted(tmp_path, lambda pixels: PixelScaling()(pixels) * 0)


def test_a_handful_of_steps_is_warned_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fitted(tmp_path, config=layer(epochs=1, warmup_steps=50))
    assert "warning: 5 gradient steps are too few" in capsys.readouterr().err
    assert "too few" in (tmp_path / "log.jsonl").read_text()


@pytest.mark.parametrize("epochs", [1, 10])
def test_a_short_run_logs_enough_for_a_curve(epochs: int, tmp_path: Path) -> None:
    fitted(tmp_path, config=layer(epochs=epochs))
    with Journal(tmp_path) as journal:
        steps, _ = journal.series("loss/step")
    assert steps == list(range(1, 5 * epochs + 1))


@pytest.mark.parametrize(
    ("total", "first", "last"),
    [(120, [1, 2, 4], [118, 120]), (2499, [1, 49, 98], [2450, 2499]), (2501, [50, 100], [2500])],
)
def test_a_long_run_logs_every_fiftieth_step(total: int, first: list[int], last: list[int], tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        made = LayerFit(SparseConvAutoencoder(layer(), 3, 0), IMAGES, Prepare({}), tmp_path / "layer.npz", journal, 0)
    made.total_steps = total
    logged = [step for step in range(1, total + 1) if made._is_logged(step)]
    assert logged[: len(first)] == first and logged[-len(last) :] == last


def test_dead_maps_are_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = SparseConvAutoencoder(layer(epochs=1), 3, 0)
    with torch.no_grad():
        made.encoder_bias[:5] = -1e6
    with Journal(tmp_path) as journal:
        LayerFit(made, IMAGES, Prepare({}), tmp_path / "layer.npz", journal, 0).run()
    assert epochs(tmp_path)[0]["maps/dead"] == 5
    assert "5 of 12 maps" in capsys.readouterr().err


def test_fewer_images_than_a_batch_are_one_batch(tmp_path: Path) -> None:
    prepare = Prepare({})
    fitted(tmp_path, prepare, config=layer(batch_images=1000, epochs=2))
    assert prepare.calls == 2
