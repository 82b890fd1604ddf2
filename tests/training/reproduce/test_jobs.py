"""Each kind of measurement, on drawn pictures."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.training.drawn import config, dataset, layer
from tests.training.reproduce.measuring import measure
from training.config import ProbeConfig
from training.extraction import extract
from training.probe import Trial
from training.reproduce.bench import KEPT, Bench
from training.reproduce.jobs import kmeans, labels
from training.reproduce.jobs.kmeans import KMeansFinal
from training.reproduce.jobs.labels import FewLabels, cross_validated, draw
from training.reproduce.jobs.sca import FinalRun, ValidationRun
from training.reproduce.jobs.scoring import Labelled, fit_probe, percent_right, pixel_features
from training.reproduce.jobs.span import Span
from training.reproduce.jobs.variants import VariantValidation
from training.rivals.kmeans import TriangleKMeans

SHALLOW = config("separable", name="shallow")
DEEP = config("none", name="deep", layers=(layer(maps=6, epochs=1), layer(maps=5, kernel=3, epochs=1)))
GREY_PROBE = ProbeConfig(losses=("svm",), strengths={"svm": (0.1, 1.0)}, max_iterations=20)
CHANCE = 25.0


def test_a_final_run_reports_what_its_bundle_reports(bench: Bench) -> None:
    outcome = measure(FinalRun(SHALLOW), bench, seed=3)
    (path,) = bench.runs_dir.glob("models/seed3-*/shallow/1/manifest.json")
    manifest = json.loads(path.read_text())
    assert outcome.value == manifest["accuracy"]["value"] > 80
    assert manifest["training"]["seed"] == 3 and manifest["training"]["command"] == "the command"
    assert outcome.facts["dead_maps"] == 0 and outcome.facts["validation"] > 70
    assert outcome.seconds == pytest.approx(manifest["training"]["seconds"], abs=2)


def test_networks_of_one_name_and_other_settings_have_a_bundle_each(bench: Bench) -> None:
    for epochs in (1, 2):
        measure(FinalRun(config("none", name="small", layers=(layer(maps=4, epochs=epochs),))), bench)
    bundles = list(bench.runs_dir.glob("models/*/small/1"))
    assert len({(bundle / "model.onnx").read_bytes() for bundle in bundles}) == 2


def test_an_error_is_what_accuracy_leaves(bench: Bench) -> None:
    right = measure(FinalRun(SHALLOW), bench)
    wrong = measure(FinalRun(dataclasses.replace(SHALLOW, metric="error")), bench)
    assert wrong.value == pytest.approx(100 - right.value)
    assert wrong.facts["validation"] == pytest.approx(100 - right.facts["validation"])


def test_a_trial_has_no_test_image(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(bench.blind("drawn").test.labels) == 0 and len(bench.dataset("drawn").test.labels) == 64
    monkeypatch.setattr(Bench, "dataset", lambda self, name: dataset(test=0))
    final = measure(ValidationRun(SHALLOW), bench)
    assert final.value > 70
    assert not (bench.runs_dir / "models").exists()


def test_a_trial_and_its_final_run_are_one_run(bench: Bench) -> None:
    trial, final = (measure(job, bench) for job in (ValidationRun(SHALLOW), FinalRun(SHALLOW)))
    assert trial.value == final.facts["validation"]
    (folder,) = bench.runs_dir.glob("shallow-seed0-*")
    stages = json.loads((folder / "stages.json").read_text())
    assert trial.seconds is not None and final.seconds is not None
    assert final.seconds == pytest.approx(sum(stages.values()) - stages["validation"])


def test_rows_share_the_layers_that_they_have_in_common(bench: Bench) -> None:
    measure(ValidationRun(DEEP), bench)
    wider = dataclasses.replace(DEEP, name="wider", layers=(DEEP.layers[0], layer(maps=7, kernel=3, epochs=1)))
    outcome = measure(ValidationRun(wider), bench)
    assert outcome.facts["taken_over"]["layers"] == 1


@pytest.mark.parametrize("whiten", [True, False])
def test_k_means_is_scored_by_the_same_probe(whiten: bool, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[Any, ...]] = []

    def model(*given: Any) -> TriangleKMeans:
        made.append(given)
        return TriangleKMeans(*given)

    monkeypatch.setattr(kmeans, "TriangleKMeans", model)
    outcome = measure(KMeansFinal("drawn", maps=8, patch=5, whiten=whiten, patches=2000), bench, seed=2)
    assert made == [(8, 5, whiten, 2, 2000)]
    assert outcome.value > 60 and outcome.facts["validation"] > 60 and outcome.facts["chosen"]["loss"] == "svm"


@pytest.mark.parametrize("variant", ["winner-take-all", "largest-overall"])
def test_a_rule_is_told_by_its_dead_maps(variant: str, bench: Bench) -> None:
    outcome = measure(VariantValidation(variant, SHALLOW), bench)
    assert outcome.value > CHANCE and 0 < outcome.facts["reconstruction_error"] < 1
    if variant == "winner-take-all":
        assert outcome.facts["dead_maps"] == 0


def test_a_draw_has_equally_many_labels_of_each_class_in_each_fold() -> None:
    known = np.random.default_rng(0).integers(0, 4, 300)
    folds = draw(known, 10, seed=1, number=2)
    assert folds.shape == (5, 8) and len(np.unique(folds)) == 40
    for fold in folds:
        assert np.bincount(known[fold]).tolist() == [2, 2, 2, 2]
    assert not np.array_equal(draw(known, 10, 1, 3), folds) and np.array_equal(draw(known, 10, 1, 2), folds)


@pytest.mark.parametrize("features", ["sca", "pixels"])
def test_few_labels_are_enough_for_more_than_chance(features: Any, bench: Bench) -> None:
    outcome = measure(FewLabels(SHALLOW, 10, draws=2, features=features), bench)
    assert len(outcome.facts["draws"]) == 2 and outcome.value > CHANCE + 10
    assert outcome.value == pytest.approx(np.mean(outcome.facts["draws"]), abs=1e-3)


def test_rows_with_the_same_encoder_share_the_test_images_features(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []
    plain = extract

    def counted(extractor: Any, images: Any, *given: Any) -> Any:
        made.append(len(images))
        return plain(extractor, images, *given)

    monkeypatch.setattr("training.reproduce.jobs.labels.extract", counted)
    first = measure(FewLabels(SHALLOW, 10, draws=1), bench)
    measure(FewLabels(SHALLOW, 5, draws=1), bench)
    assert made == [64, 40, 20]
    measure(FewLabels(SHALLOW, 10, draws=1), bench, seed=1)
    assert made == [64, 40, 20, 64, 40]
    assert measure(FewLabels(SHALLOW, 10, draws=1), bench) == first


def test_what_jobs_share_is_not_kept_for_ever(bench: Bench) -> None:
    made = [bench.once(str(number), lambda number=number: number) for number in (*range(9), 8, 0)]  # type: ignore[misc]
    assert made == [*range(9), 8, 0] and len(bench._kept) == KEPT


def test_whitening_is_fitted_once_for_all_jobs(bench: Bench) -> None:
    wider = dataclasses.replace(SHALLOW, layers=(layer(maps=7, epochs=1),))
    assert bench.preprocessing(SHALLOW) is bench.preprocessing(wider)
    other = bench.preprocessing(dataclasses.replace(SHALLOW, whitening="contrast"))
    assert other.kind == "contrast" and bench.preprocessing(SHALLOW).kind == "separable"


def test_labels_that_do_not_make_folds_are_refused() -> None:
    with pytest.raises(ValueError, match="12 labels a class do not make 5 folds"):
        FewLabels(SHALLOW, 12, draws=1)


@pytest.mark.parametrize("loss", ["svm", "logistic"])
def test_a_probe_in_the_span_of_its_images_is_the_probe_on_their_features(loss: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    known = np.arange(40) % 4
    rows, others = (
        torch.from_numpy(rng.random((count, 600)).astype(np.float32)) * torch.linspace(0.1, 5, 600)
        for count in (40, 30)
    )
    settings = ProbeConfig(losses=(loss,), strengths={loss: (1.0,)}, max_iterations=300, tolerance=1e-6)
    wide = Labelled(rows, known, 4, maps=20)
    span = Span.of(rows, 20)
    narrow = dataclasses.replace(wide, features=span.project(rows), maps=1)
    first = fit_probe(wide, settings, tmp_path, 32)
    second = fit_probe(narrow, span.config(settings), tmp_path, 32)
    scores = (others @ first.weights + first.bias) * first.chosen.temperature
    again = (span.project(others) @ second.weights + second.bias) * second.chosen.temperature
    torch.testing.assert_close(again, scores, rtol=0, atol=2e-3 * float(scores.abs().max()))


def test_every_fold_has_its_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[float] = []

    def tried(images: Labelled, config: ProbeConfig, folder: Path, fitted: int) -> tuple[Trial, ...]:
        assert isinstance(images.features, Tensor)
        # one fold speaks loudly for the strong probe, the other four for the weak one
        weak, strong = (0.5, 0.9) if not held else (0.8, 0.6)
        held.extend(images.features[fitted:, 0].tolist())
        return Trial("svm", 0.1, 1.0, weak, 1.0), Trial("svm", 10.0, 1.0, strong, 1.0)

    monkeypatch.setattr(labels, "trials", tried)
    rows = torch.arange(40.0)[:, None].repeat(1, 4)
    settings = ProbeConfig(losses=("svm",), strengths={"svm": (0.1, 10.0)})
    probe = cross_validated(Labelled(rows, np.arange(40) % 4, 4, maps=4), settings, tmp_path)
    assert sorted(held) == list(range(40))
    assert probe.chosen.strength == 0.1
    held.clear()
    assert cross_validated(Labelled(rows, np.arange(40) % 4, 4, maps=4), settings, tmp_path, 1).chosen.strength == 10.0
    assert held == list(range(32, 40))


def test_pixels_as_features_are_planes_between_0_and_1() -> None:
    images = dataset().train.images[:3]
    got = pixel_features(np.asarray(images))
    assert got.shape == (3, 3 * 12 * 12) and float(got.max()) <= 1
    np.testing.assert_allclose(got[1].view(3, 12, 12).numpy(), images[1].transpose(2, 0, 1) / 255, atol=1e-3)


def test_a_score_is_the_share_of_right_answers(tmp_path: Path) -> None:
    rows = torch.eye(4).repeat(25, 1)
    known = np.arange(100) % 4
    probe = fit_probe(Labelled(rows, known, 4, maps=4), GREY_PROBE, tmp_path)
    assert percent_right(probe, rows, known) == 100
    assert percent_right(probe, rows, (known + 1) % 4) == 0
