"""The supervised net as a row: how long it learns, from which images, and on which it is judged."""

from typing import Any

import numpy as np
import pytest

from tests.training.drawn import config
from tests.training.reproduce.measuring import measure
from training.reproduce.bench import Bench
from training.reproduce.jobs import labels
from training.reproduce.jobs.labels import FewLabels
from training.reproduce.jobs.supervised import (
    CHECKPOINT,
    FewLabelsSupervised,
    FewLabelsTrial,
    SupervisedFinal,
    SupervisedTrial,
    Training,
)
from training.rivals.supervised import SupervisedNet

SHALLOW = config("separable", name="shallow")
CHANCE = 25.0


def test_the_supervised_net_learns_for_whole_passes(bench: Bench) -> None:
    outcome = measure(SupervisedFinal(SHALLOW, Training(99, learning_rate=5e-3)), bench)
    assert outcome.value > 60 and outcome.facts["epochs"] == 25  # of four steps


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[bytes]]:
    """The images that nets learn from, `fit`, and are judged by, `accuracy`."""
    seen: dict[str, list[bytes]] = {"fit": [], "accuracy": []}
    for name, images in seen.items():
        plain = getattr(SupervisedNet, name)

        def watched(net: SupervisedNet, *given: Any, images: Any = images, plain: Any = plain, **named: Any) -> Any:
            images += [image.tobytes() for image in given[0]]
            return plain(net, *given, **named)

        monkeypatch.setattr(SupervisedNet, name, watched)
    return seen


def test_a_supervised_trial_sees_no_test_image_and_is_judged_on_what_it_has_not_learnt_from(
    bench: Bench, seen: dict[str, list[bytes]]
) -> None:
    outcome = measure(SupervisedTrial(SHALLOW, Training(99, learning_rate=5e-3, dropout=0.2)), bench)
    assert outcome.value > 60 and outcome.facts["epochs"] == -(-99 // (len(seen["fit"]) // 64))
    everything = {image.tobytes() for image in bench.blind("drawn").train.images[:]}
    assert len(seen["accuracy"]) == round(0.2 * len(everything)) and not set(seen["accuracy"]) & set(seen["fit"])
    assert set(seen["accuracy"]) | set(seen["fit"]) == everything
    assert bench.lent["drawn"]["test_images"] == 0


def test_a_trial_with_few_labels_learns_from_those_and_is_judged_on_all_that_are_held_out(
    bench: Bench, seen: dict[str, list[bytes]]
) -> None:
    outcome = measure(FewLabelsTrial(SHALLOW, 10, Training(40, learning_rate=5e-3)), bench)
    train = bench.blind("drawn").train
    labels = dict(zip((image.tobytes() for image in train.images[:]), train.labels.tolist(), strict=True))
    assert outcome.value > CHANCE
    assert sorted(labels[image] for image in seen["fit"]) == sorted([0, 1, 2, 3] * 10)
    assert len(seen["accuracy"]) == round(0.2 * len(labels)) and not set(seen["accuracy"]) & set(seen["fit"])
    assert bench.lent["drawn"]["test_images"] == 0


@pytest.mark.parametrize(("images", "epochs", "seen"), [(256, 3, 768), (300, 3, 768), (40, 10, 400)])
def test_a_training_is_counted_in_images(images: int, epochs: int, seen: int) -> None:
    assert (Training(10).epochs(images), Training(10).seen(images)) == (epochs, seen)


def test_a_supervised_net_goes_on_where_it_was_stopped(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = measure(SupervisedFinal(SHALLOW, Training(12)), bench)
    (bench.runs_dir / "job" / CHECKPOINT).unlink()
    plain, passes, limit = SupervisedNet._pass, 0, 2

    def counted(net: SupervisedNet, *given: Any) -> float:
        nonlocal passes
        if passes == limit:
            raise KeyboardInterrupt
        passes += 1
        return plain(net, *given)

    monkeypatch.setattr(SupervisedNet, "_pass", counted)
    with pytest.raises(KeyboardInterrupt):
        measure(SupervisedFinal(SHALLOW, Training(12)), bench)
    limit = 3
    assert measure(SupervisedFinal(SHALLOW, Training(12)), bench) == whole and passes == 3


def test_the_supervised_net_gets_the_same_few_labels(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    plain = labels.draw

    def watched(*given: Any) -> Any:
        rows = plain(*given)
        seen.append(np.sort(rows.ravel()).tolist())
        return rows

    for module in ("labels", "supervised"):
        monkeypatch.setattr(f"training.reproduce.jobs.{module}.draw", watched)
    net = measure(FewLabelsSupervised(SHALLOW, 10, draws=2, training=Training(20)), bench)
    measure(FewLabels(SHALLOW, 10, draws=2, features="pixels"), bench)
    assert net.value > CHANCE and len(seen) == 4 and seen[:2] == seen[2:]
