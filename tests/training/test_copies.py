"""A run whose probe also learns from changed copies: which rows it gets, and what it is judged on."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.training.drawn import config, dataset
from training import probe
from training.config import AugmentationConfig, ProbeConfig
from training.pipeline import Pipeline
from training.probe import ProbeFit

SHALLOW = config("separable")
DATA = dataset()


def test_a_probe_that_also_sees_copies_is_judged_on_images_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[ProbeFit] = []
    choose = ProbeFit.choose

    def watched(fit: ProbeFit) -> tuple[probe.Trial, ...]:
        seen.append(fit)
        return choose(fit)

    monkeypatch.setattr(ProbeFit, "choose", watched)
    plain = ProbeConfig(losses=("svm",), strengths={"svm": (0.3,)})
    count, held_out = len(DATA.train.labels), round(0.2 * len(DATA.train.labels))
    for copies, augmentation in ((1, None), (3, AugmentationConfig(2, shift=1.0))):
        settings = replace(SHALLOW, probe=replace(plain, augmentation=augmentation))
        line = Pipeline(settings, DATA, tmp_path / f"{copies}", tmp_path / "models", "", "1")
        line.validate()
        fit = seen.pop()
        assert isinstance(fit.features, torch.Tensor) and len(fit.features) == copies * count
        assert fit.fitted == copies * (count - held_out) and fit.validated == fit.fitted + held_out
        pixels = torch.from_numpy(line.train.images[count - held_out :])
        expected = line.fit_layers()(pixels).half()
        assert torch.allclose(fit.features[fit.fitted : fit.validated], expected, atol=1e-3)
        labels = torch.from_numpy(line.train.labels)
        assert torch.equal(fit.labels, labels.repeat(copies)[_order(copies, count, held_out)])


def _order(copies: int, count: int, held_out: int) -> torch.Tensor:
    """Numbers of images and copies as the probe gets them: to fit to first, held out next."""
    numbers = torch.arange(copies * count).view(copies, count)
    return torch.cat([numbers[:, : count - held_out].flatten(), numbers[:, count - held_out :].flatten()])
