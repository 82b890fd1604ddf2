"""The probe: chosen on held-out images, calibrated, the same every time."""

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor
from torch.nn import functional

from training.config import ProbeConfig
from training.journal import Journal
from training.probe import Probe, ProbeFit, temperature_of
from training.splits import DataError

MAPS, CLASSES = 6, 3
CONFIG = ProbeConfig(strengths={"svm": (0.001, 0.1, 10.0), "logistic": (0.001, 0.1)}, max_iterations=40)


def drawn(rows: int = 400, noise: float = 2.0, size: int = 60, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Features float16 (N, D) and labels (N,)."""
    draw = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, CLASSES, (rows,), generator=draw)
    centres = torch.randn(CLASSES, size, generator=draw)
    return (centres[labels] + noise * torch.randn(rows, size, generator=draw)).relu().half(), labels


def fitted(folder: Path, features: Tensor, labels: Tensor, config: ProbeConfig = CONFIG) -> Probe:
    with Journal(folder) as journal:
        return ProbeFit(features, labels, CLASSES, MAPS, config, journal).run()


def test_it_learns_and_generalises(tmp_path: Path) -> None:
    features, labels = drawn(900)
    probe = fitted(tmp_path, features[:600], labels[:600])
    logits = features[600:].float() @ probe.weights + probe.bias
    accuracy = float((logits.argmax(1) == labels[600:]).float().mean())
    assert accuracy > 0.85
    assert abs(accuracy - probe.chosen.validation_accuracy) < 0.1


def test_the_best_on_held_out_images_is_chosen_not_the_best_on_its_own(tmp_path: Path) -> None:
    features, labels = drawn(200, noise=4, size=240)
    probe = fitted(tmp_path, features, labels)
    assert len(probe.trials) == 5 and probe.chosen in probe.trials
    highest = max(trial.validation_accuracy for trial in probe.trials)
    assert probe.chosen.validation_accuracy == highest
    weakest = next(trial for trial in probe.trials if trial.loss == "svm" and trial.strength == 0.001)
    assert weakest.train_accuracy == 1.0 and weakest.validation_accuracy < highest, "nothing to choose"


def test_the_last_fifth_validates(tmp_path: Path) -> None:
    features, labels = drawn()
    wrong = labels.clone()
    wrong[320:] = (wrong[320:] + 1) % CLASSES
    for trial in fitted(tmp_path, features, wrong).trials:
        assert trial.train_accuracy > 0.8 and trial.validation_accuracy < 0.3


def test_held_out_rows_are_measured_by_the_others_scale(tmp_path: Path) -> None:
    features, labels = drawn(noise=0.2)
    moved = features.clone()
    moved[320:] = 30 * (moved[320:] + 3)  # standardised by themselves, they would be the same as before
    for trial in fitted(tmp_path, moved, labels).trials:
        assert trial.train_accuracy > 0.95 and trial.validation_accuracy < 0.9


def test_features_that_never_change_are_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no feature differs from image to image"):
        fitted(tmp_path, torch.ones(50, 60).half(), torch.arange(50) % CLASSES)


def test_one_image_to_fit_to_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is but one image to fit the probe to"):
        fitted(tmp_path, torch.rand(2, 60).half(), torch.arange(2))


def test_of_equals_the_strongest_is_chosen(tmp_path: Path) -> None:
    features, labels = drawn(noise=0.2)  # everything is right at every strength
    probe = fitted(tmp_path, features, labels, ProbeConfig(losses=("svm",), strengths={"svm": (0.01, 0.1, 0.03)}))
    assert {trial.validation_accuracy for trial in probe.trials} == {1.0}
    assert probe.chosen.strength == 0.1


def test_two_fits_are_equal_to_the_bit(tmp_path: Path) -> None:
    features, labels = drawn()
    one, other = (fitted(tmp_path / name, features, labels) for name in ("a", "b"))
    assert torch.equal(one.weights, other.weights) and torch.equal(one.bias, other.bias)
    assert one.trials == other.trials


def log_loss(scores: Tensor, labels: Tensor, temperature: float) -> float:
    return float(functional.cross_entropy(scores.double() / temperature, labels))


@pytest.mark.parametrize("factor", [0.05, 1.0, 20.0])
def test_the_temperature_has_the_least_log_loss(factor: float) -> None:
    draw = torch.Generator().manual_seed(0)
    labels = torch.randint(0, CLASSES, (500,), generator=draw)
    scores = (functional.one_hot(labels, CLASSES) + torch.randn(500, CLASSES, generator=draw)) * factor
    found = temperature_of(scores, labels)
    best = minimize_scalar(lambda t: log_loss(scores, labels, float(np.exp(t))), bounds=(-6, 6), method="bounded")
    assert found == pytest.approx(float(np.exp(best.x)), rel=0.01)
    assert log_loss(scores, labels, found) <= float(best.fun) + 1e-6


@pytest.mark.parametrize("rows", [1, 4, 400])
@pytest.mark.parametrize("factor", [0.01, 1.0, 100.0])
def test_scores_that_are_always_right_are_as_sure_as_so_many_answers_allow(rows: int, factor: float) -> None:
    labels = torch.arange(rows) % CLASSES
    scores = functional.one_hot(labels, CLASSES).float() * factor
    sure = (scores.double() / temperature_of(scores, labels)).softmax(1).amax(1)
    assert sure.tolist() == pytest.approx([(rows + 1) / (rows + 2)] * rows, rel=1e-3)


def test_scores_that_say_nothing_give_a_usable_temperature() -> None:
    labels = torch.arange(CLASSES).repeat(20)
    assert np.isfinite(temperature_of(torch.zeros(60, CLASSES), labels))
    draw = torch.Generator().manual_seed(0)
    found = temperature_of(torch.randn(60, CLASSES, generator=draw), labels)
    assert np.isfinite(found) and found > 0


def test_logits_are_calibrated_by_the_chosen_temperature(tmp_path: Path) -> None:
    features, labels = drawn(2000, noise=4)
    probe = fitted(tmp_path, features[:1000], labels[:1000])
    logits = features[1000:].float() @ probe.weights + probe.bias
    confidence, right = logits.softmax(1).amax(1).mean(), (logits.argmax(1) == labels[1000:]).float().mean()
    assert float(confidence) == pytest.approx(float(right), abs=0.06)


def test_rows_after_the_validating_ones_are_for_the_final_fit_alone(tmp_path: Path) -> None:
    features, labels = drawn(600)
    config = ProbeConfig(losses=("svm",), strengths={"svm": (0.01, 1.0)}, max_iterations=40)

    def fit(folder: str, rest: Tensor, labels_of_rest: Tensor) -> Probe:
        rows, of_rows = torch.cat([features[:400], rest]), torch.cat([labels[:400], labels_of_rest])
        with Journal(tmp_path / folder) as journal:
            return ProbeFit(rows, of_rows, CLASSES, MAPS, config, journal, fitted=320, validating=80).run()

    more, without = fit("more", features[400:], labels[400:]), fit("without", features[:0], labels[:0])
    wrong = fit("wrong", features[400:], (labels[400:] + 1) % CLASSES)
    assert more.trials == without.trials == wrong.trials
    assert not torch.allclose(more.weights, without.weights) and not torch.allclose(more.weights, wrong.weights)
