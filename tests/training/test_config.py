"""Settings: what they refuse, and the paper's networks."""

import dataclasses
import json
from typing import Any

import pytest

from tests.training.drawn import layer
from training.presets import DEFAULT_PRESETS, PRESETS
from training.sca import SparseConvAutoencoder


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"kernel": 4}, "kernel"),
        ({"maps": 0}, "maps"),
        ({"epochs": 0}, "epochs"),
        ({"batch_images": 0}, "batch_images"),
        ({"images": 0}, "images"),
        ({"pool_width": 0}, "pool_width"),
        ({"pool_stride": 4}, "pool_stride 4"),
    ],
)
def test_a_layer_that_cannot_be_is_refused_by_name(change: dict[str, Any], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        layer(**change)


@pytest.mark.parametrize(
    ("name", "maps", "kernel", "pool", "paper"),
    [("mnist-shallow", 128, 7, (5, 3), 0.64), ("cifar10-shallow", 512, 9, (5, 4), 72.7)],
)
def test_the_presets_are_the_papers_networks(
    name: str, maps: int, kernel: int, pool: tuple[int, int], paper: float
) -> None:
    preset = PRESETS[name]
    (only,) = preset.layers
    assert (only.maps, only.kernel, (only.pool_width, only.pool_stride)) == (maps, kernel, pool)
    assert preset.paper_value == paper and preset.name == name


@pytest.mark.parametrize(
    ("name", "size", "maps", "shapes", "paper"),
    [
        ("mnist-deep", 28, 2048, [(128, 10, 10), (2048, 5, 5)], 0.48),
        ("cifar10-deep", 32, 4096, [(512, 8, 8), (4096, 4, 4)], 78.1),
    ],
)
def test_the_deep_presets_pool_to_the_papers_sizes(
    name: str, size: int, maps: int, shapes: list[tuple[int, int, int]], paper: float
) -> None:
    preset = PRESETS[name]
    below, above = preset.layers
    assert (below,) == PRESETS[name.replace("deep", "shallow")].layers
    assert above.maps == maps and preset.paper_value == paper and preset.name == name
    # the sizes follow from the pooling; a network this narrow tells them at once
    rows = columns = size
    for wanted, shape in zip(preset.layers, shapes, strict=True):
        narrow = SparseConvAutoencoder(dataclasses.replace(wanted, maps=1), 1, 0)
        _, rows, columns = narrow.output_shape(rows, columns)
        assert (wanted.maps, rows, columns) == shape


def test_small_norbs_presets_are_the_papers_networks() -> None:
    for name, paper in (("norb-shallow", 6.6), ("norb-deep", 4.7)):
        preset = PRESETS[name]
        first, *above = preset.layers
        assert (first.maps, first.kernel, first.pool_width, first.pool_stride) == (128, 9, 6, 4)
        assert [(layer.maps, layer.pool_width, layer.pool_stride) for layer in above] == [(2048, 3, 2)] * len(above)
        assert len(above) == (name == "norb-deep")
        assert preset.window is not None and (preset.window.crop, preset.window.size) == (64, 32)
        assert preset.whitening == "zca" and preset.paper_value == paper and preset.metric == "error"


@pytest.mark.parametrize("depth", ["shallow", "deep"])
def test_the_rendered_sets_presets_are_small_norbs_without_the_papers_figures(depth: str) -> None:
    norb, drawn = PRESETS[f"norb-{depth}"], PRESETS[f"rendered-stereo-{depth}"]
    assert drawn.paper_value is None and drawn.dataset == "rendered-stereo" and drawn.name == f"rendered-stereo-{depth}"
    same = dataclasses.replace(drawn, name=norb.name, dataset=norb.dataset, paper_value=norb.paper_value)
    assert same == norb


def test_every_data_set_has_a_preset_of_its_own() -> None:
    for dataset, name in DEFAULT_PRESETS.items():
        assert PRESETS[name].dataset == dataset


def test_a_config_survives_json() -> None:
    for preset in PRESETS.values():
        plain = preset.to_json()
        once = json.loads(json.dumps(plain))
        assert once == json.loads(json.dumps(once)) and once["layers"][0]["maps"] == preset.layers[0].maps
