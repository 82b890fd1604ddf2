"""The supervised network of the same architecture."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from tests.training.drawn import config, photos
from training import whitening
from training.rivals.errors import NotFittedError
from training.rivals.supervised import SupervisedNet

TRAIN, HELD_OUT, TEST = (photos(count, 12, 12, 3, seed) for count, seed in ((320, 1), (100, 2), (200, 3)))


def fitted(**changes: float) -> SupervisedNet:
    plain = {"maps": 8, "kernel": 5, "pool_width": 3, "pool_stride": 2, "epochs": 6, "learning_rate": 5e-3}
    net = SupervisedNet(**{**plain, **changes})  # type: ignore[arg-type]  # all but a few are int
    return net.fit(*TRAIN, *HELD_OUT)


def test_it_learns_from_labels() -> None:
    net = fitted()
    assert net.accuracy(*TEST) > 0.9
    assert net.filters.shape == (8, 3, 5, 5)
    assert net.history[-1].loss < 0.5 * net.history[0].loss


def test_it_learns_from_whitened_images_too() -> None:
    net = SupervisedNet(
        8, 5, 3, 2, preprocessing=whitening.fit(TRAIN.images, config("separable")), epochs=15, learning_rate=5e-3
    )
    assert net.fit(*TRAIN, *HELD_OUT).accuracy(*TEST) > 0.9


def test_predictions_are_the_networks_equation() -> None:
    net = fitted(epochs=1)
    network = net._network
    assert network is not None
    x = torch.from_numpy(TEST.images).permute(0, 3, 1, 2).double() / 255
    x = (x - network.mean.double()) / network.deviation
    filters, bias, weights, offset = (parameter.detach().double() for parameter in network.parameters())
    maps = functional.conv2d(x, filters, bias, padding=2).relu()
    scores = functional.max_pool2d(maps, 3, 2, padding=1).flatten(1) @ weights + offset
    predicted = net.predict(TEST.images)
    assert predicted.dtype == np.int64
    assert (predicted == scores.argmax(1).numpy()).mean() > 0.99  # rounding may turn a tie


@pytest.mark.parametrize("cut", [1, 4])
def test_interrupted_it_ends_with_the_same_weights(cut: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def net() -> SupervisedNet:
        return SupervisedNet(8, 5, 3, 2, epochs=6, learning_rate=5e-3)

    whole = net().fit(*TRAIN, *HELD_OUT)
    plain, passes, limit = SupervisedNet._pass, 0, cut

    def counted(net: SupervisedNet, *given: Any) -> float:
        nonlocal passes
        if passes == limit:
            raise KeyboardInterrupt
        passes += 1
        return plain(net, *given)

    monkeypatch.setattr(SupervisedNet, "_pass", counted)
    with pytest.raises(KeyboardInterrupt):
        net().fit(*TRAIN, *HELD_OUT, tmp_path / "net.npz")
    limit = 6
    again = net().fit(*TRAIN, *HELD_OUT, tmp_path / "net.npz")
    assert passes == 6 and again.history == whole.history
    assert torch.equal(again.filters, whole.filters)
    assert np.array_equal(again.predict(TEST.images), whole.predict(TEST.images))
    # a finished one is taken as it is
    assert net().fit(*TRAIN, *HELD_OUT, tmp_path / "net.npz").history == whole.history


def test_the_best_validation_pass_is_kept() -> None:
    # labels without sense: accuracy goes up and down
    noise, labels = np.split(np.random.default_rng(0).integers(0, 4, 420), [320])
    net = SupervisedNet(8, 5, 3, 2, epochs=12, patience=12, learning_rate=5e-3)
    net.fit(TRAIN.images, noise, HELD_OUT.images, labels)
    accuracies = [epoch.accuracy for epoch in net.history]
    assert len(accuracies) == 12 and accuracies[-1] != max(accuracies), "nothing to choose"
    assert net.accuracy(HELD_OUT.images, labels) == max(accuracies)
    assert accuracies.index(max(accuracies)) == net.best_epoch


def test_without_validation_images_the_last_pass_is_kept() -> None:
    watched, alone = (SupervisedNet(8, 5, 3, 2, epochs=7, patience=1, learning_rate=5e-3) for _ in range(2))
    alone.fit(*TRAIN)
    assert len(alone.history) == 7 and alone.best_epoch == 6
    watched.patience = 7
    watched.fit(*TRAIN, TRAIN.images[:7], np.arange(7))  # nobody's labels: a pass that is not the last may be best
    assert [epoch.loss for epoch in alone.history] == [epoch.loss for epoch in watched.history]
    assert alone.accuracy(*TEST) > 0.9


def test_it_stops_when_validation_no_longer_gets_better() -> None:
    net = SupervisedNet(4, 5, 3, 2, epochs=50, patience=2)
    net.fit(*TRAIN, HELD_OUT.images, np.full(100, 3))  # nothing can be learnt of these labels
    assert len(net.history) == net.best_epoch + 3 < 50


def test_dropout_acts_in_training_only() -> None:
    without, heavy = fitted(dropout=0.0, epochs=2), fitted(dropout=0.9, epochs=2)
    assert heavy.history[0].loss > without.history[0].loss
    assert (heavy.predict(TEST.images) == heavy.predict(TEST.images)).all()


def test_threads_do_not_change_a_bit() -> None:
    one = fitted(epochs=1)
    torch.set_num_threads(2)
    two = fitted(epochs=1)
    assert torch.equal(one.filters, two.filters) and (one.predict(TEST.images) == two.predict(TEST.images)).all()


def test_an_unfitted_network_says_so() -> None:
    with pytest.raises(NotFittedError, match="call fit first"):
        SupervisedNet(4, 5, 3, 2).predict(TEST.images)
