"""What differs between two runs' settings, in a few words."""

from dataclasses import replace

from tests.training.drawn import config, layer
from training.config import AugmentationConfig, RunConfig
from training.differences import told


def words(old: RunConfig, new: RunConfig, images: str = "a") -> str:
    return told({**old.to_json(), "images_sha256": "a"}, {**new.to_json(), "images_sha256": images})


def test_each_setting_is_named_with_both_values() -> None:
    one = config(layers=(layer(maps=128), layer(kernel=3)))
    other = replace(one, seed=1, layers=(layer(maps=16), layer(kernel=7)))
    assert words(one, other) == "layer1.maps 128 -> 16, layer2.kernel 3 -> 7, seed 0 -> 1"


def test_images_and_layers_are_only_said_to_differ() -> None:
    one = config()
    assert words(one, one, images="b") == "other images"
    assert words(one, replace(one, layers=(layer(), layer()))) == "layers 1 -> 2"


def test_what_one_of_them_lacks_is_named_too() -> None:
    one = config()
    mirror = replace(one, probe=replace(one.probe, augmentation=AugmentationConfig(1, mirror=True)))
    assert words(one, mirror).startswith("probe.augmentation none -> {'copies': 1")
    assert words(mirror, one).endswith("… -> none")


def test_more_than_a_line_holds_is_counted() -> None:
    one = config()
    other = replace(one, layers=(layer(maps=1, kernel=1, pool_width=9, pool_stride=9, epochs=9, batch_images=9),))
    assert words(one, other, images="b").endswith("pool_stride 2 -> 9, 3 more")
