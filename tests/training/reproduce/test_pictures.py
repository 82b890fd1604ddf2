"""Jobs that draw filters and panels: the number beside a picture, and what the picture shows."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.training import untrained
from tests.training.drawn import config, dataset, layer
from tests.training.reproduce.measuring import measure
from training import figures
from training.config import RunConfig
from training.reproduce.bench import Bench
from training.reproduce.jobs.filters import PICTURE, PatchFilters, PlainFilters, ScaFilters, shifted_copies
from training.reproduce.jobs.panels import Panels, panels

SHALLOW = config("separable", name="shallow")
DEEP = config("none", name="deep", layers=(layer(maps=6, epochs=1), layer(maps=5, kernel=3, epochs=1)))


def picture(bench: Bench) -> tuple[int, int]:
    with Image.open(bench.runs_dir / "job" / PICTURE) as image:
        image.load()
        return image.size


def test_shifted_copies_are_found_under_any_shift() -> None:
    one = torch.zeros(2, 1, 7, 7)
    one[0, 0, 1:3, 1:3] = 1.0
    one[1, 0, 4:6, 3:5] = -2.0  # the same, elsewhere, and turned over
    assert shifted_copies(one) == pytest.approx(1.0)
    one[1] = 0
    one[1, 0, 2, :] = torch.tensor([1.0, -1, 1, -1, 1, -1, 1])
    assert shifted_copies(one) < 0.5


def test_shifted_copies_of_many_are_those_of_few(monkeypatch: pytest.MonkeyPatch) -> None:
    filters = torch.randn(9, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    whole = shifted_copies(filters)
    monkeypatch.setattr("training.reproduce.jobs.filters.COMPARED", 4)
    assert shifted_copies(filters) == pytest.approx(whole, rel=1e-5)


def test_filters_are_drawn_with_a_number(bench: Bench) -> None:
    outcome = measure(ScaFilters(SHALLOW), bench)
    assert outcome.value == 0 and 0 < outcome.facts["shifted_copies"] < 1
    assert picture(bench) == (4 * 25, 4 * 19)  # four by three filters of 5 x 5
    patches = measure(PatchFilters("drawn", units=9, patch=5, k=3, patches=1000), bench)
    assert 0 < patches.value <= 1 and picture(bench) == (2 * 19, 2 * 19)
    plain = measure(PlainFilters(SHALLOW), bench)
    assert 1 / 25 < plain.value <= 1


def test_the_panels_show_one_digit_on_its_way(bench: Bench) -> None:
    grey = dataset(14, 11, 1)
    network = untrained.extractor(dataclasses.replace(DEEP, window=None), grey)
    image = torch.from_numpy(np.asarray(grey.train.images[:1]))
    shown = panels(network, image)
    first, second = network.stack()
    assert [len(tiles) for tiles in shown.values()] == [1, 6, 6, 6, 6, 5]
    winners, maps, pooled = (list(shown.values())[i] for i in (2, 3, 4))
    torch.testing.assert_close(winners.amax((1, 2, 3)), maps.amax((1, 2, 3)))
    assert int((winners != 0).sum()) <= 6  # one a map
    torch.testing.assert_close(pooled.transpose(0, 1), first(network.preprocessing(image)).detach())
    torch.testing.assert_close(list(shown.values())[5].transpose(0, 1), network.maps(image))


def test_a_figure_of_panels_is_a_picture(tmp_path: Path) -> None:
    figures.save_panels(tmp_path / "panels.png", {"one": torch.rand(4, 1, 3, 3), "two": torch.rand(1, 3, 5, 5)})
    with Image.open(tmp_path / "panels.png") as image:
        image.load()
        assert image.width > image.height > 100


def test_the_panels_count_dead_maps_of_both_layers(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Bench, "dataset", lambda self, name: dataset(channels=1))
    run: RunConfig = dataclasses.replace(DEEP, name="grey")
    outcome = measure(Panels(run), bench)
    assert outcome.value == sum(facts["maps/dead"] for facts in outcome.facts["layers"])
    assert picture(bench)[0] > 300
