"""The model card: its head is YAML, its text says the figure, the conditions and the licences."""

import json
from dataclasses import replace
from typing import Any

import pytest

from tests.training import untrained
from tests.training.drawn import config, dataset, layer
from tests.training.stereo import drawn_pairs
from training.card import write_card
from training.config import AugmentationConfig, ProbeConfig, Window

TRAINING = {
    "command": "python -m training.run --dataset drawn",
    "seconds": 321.4,
    "hardware": "2 threads of a processor",
    "torch": "2.13.0",
    "peak_memory_mib": 1234,
    "dead_maps": 0,
}


def report(metric: str, value: float, paper: float | None) -> dict[str, Any]:
    accuracy = {"metric": metric, "value": value, "paper": paper, "conditions": "Measured once."}
    return {"accuracy": accuracy, "data_license": "public domain", "training": TRAINING}


@pytest.mark.parametrize(
    ("metric", "value", "share"), [("accuracy", 71.25, 0.7125), ("error", 0.8, 0.992)], ids=["accuracy", "error"]
)
def test_the_head_is_the_hubs(metric: str, value: float, share: float) -> None:
    card = write_card(untrained.model(config(), dataset(12, 12, 3, 60, 4)), report(metric, value, 72.7))
    opening, head, _ = card.split("---\n", 2)
    fields = {key: json.loads(text) for key, text in (line.split(": ", 1) for line in head.splitlines())}
    assert opening == "" and fields["library_name"] == "onnx" and fields["license"] == "mit"
    (result,) = fields["model-index"][0]["results"]
    assert result["metrics"] == [{"type": "accuracy", "value": share}]


def test_the_text_says_what_a_reader_asks() -> None:
    card = write_card(untrained.model(config(), dataset(12, 12, 3, 60, 4)), report("accuracy", 71.25, 72.7))
    facts = ("**71.25 %** | 72.7 %", "Measured once.", "5×5×3", "12×6×6", "| svm (chosen) | 1 | 90.00 % | 80.00 % |")
    origin = ("--dataset drawn", "321 s on 2 threads", "Data: public domain", "north, east, south, west")
    for words in facts + origin:
        assert words in card


def test_a_card_of_pairs_says_so() -> None:
    pair = untrained.model(config("zca", window=Window(12, 2)), drawn_pairs(20, 18))
    card = " ".join(write_card(pair, report("error", 6.6, 6.6)).split())
    for words in (
        "120 training pairs of images of pairs",
        "uint8 20×18, L, 2 views a sample",
        "of each view the inner 12×12 pixels, made 6×6 by averaging squares of 2×2; global contrast normalisation",
        "it learnt from the 2 views of each sample as images of their own",
    ):
        assert words in card
    single = write_card(untrained.model(config(), dataset(12, 12, 3, 60, 4)), report("error", 6.6, 6.6))
    assert "views" not in single and "the inner" not in single and "60 training images of drawn" in single


def test_a_network_that_the_paper_does_not_have_says_so() -> None:
    card = write_card(untrained.model(config(), dataset(12, 12, 3, 60, 4)), report("accuracy", 71.25, None))
    assert "not in the paper" in card and "None" not in card


def test_the_papers_figure_of_another_size_says_which() -> None:
    trial = config(name="trial", dataset="cifar10")
    card = write_card(untrained.model(trial, dataset(12, 12, 3, 60, 4)), report("accuracy", 71.25, 72.7))
    assert "**71.25 %** | 72.7 % with 512 maps |" in card


def test_it_says_what_the_probe_has_learnt_from() -> None:
    def text(augmentation: AugmentationConfig | None) -> str:
        settings = config(probe=ProbeConfig(augmentation=augmentation))
        card = write_card(untrained.model(settings, dataset(12, 12, 3, 60, 4)), report("accuracy", 71.0, None))
        body = card.split("---\n", 2)[2]
        assert max(len(line) for line in body.splitlines() if "|" not in line) <= 120
        return " ".join(card.split())

    assert "copies" not in text(None)
    assert "learnt from a copy of it, mirrored; the paper's has not." in text(AugmentationConfig(1, mirror=True))
    several = text(AugmentationConfig(3, shift=1.5, rotation=10, zoom=0.1))
    assert "3 copies of it, moved by up to 1.5 pixels, turned by up to 10 degrees" in several
    assert "enlarged or made smaller by up to 10 %" in several


def test_it_says_how_many_images_a_layer_has_seen() -> None:
    data = dataset(12, 12, 3, 60, 4)
    some = write_card(untrained.model(config(layers=(layer(images=1200),)), data), report("accuracy", 71.0, None))
    assert "epochs of 1,200 of the images in batches of" in " ".join(some.split())
    every = write_card(untrained.model(config(), data), report("accuracy", 71.0, None))
    assert "of the images in batches" not in " ".join(every.split())
    pairs = untrained.model(config("zca", window=Window(12, 2), layers=(layer(images=70),)), drawn_pairs(20, 18))
    assert "of 70 of the views in batches of 32" in " ".join(write_card(pairs, report("error", 6.6, 6.6)).split())


@pytest.mark.parametrize(("images", "batch"), [(None, 60), (1200, 60), (40, 40)])
def test_a_batch_has_no_more_images_than_there_are(images: int | None, batch: int) -> None:
    settings = config(layers=(layer(images=images, batch_images=64),))
    card = write_card(untrained.model(settings, dataset(12, 12, 3, 60, 4)), report("accuracy", 71.0, None))
    assert f"in batches of {batch}, Adam" in " ".join(card.split())


@pytest.mark.parametrize(("channels", "seen"), [(1, "describe shapes at"), (3, "describe shapes and colours at")])
def test_features_of_grey_images_tell_no_colours(channels: int, seen: str) -> None:
    card = write_card(untrained.model(config(), dataset(12, 12, channels, 60, 4)), report("accuracy", 71.0, None))
    assert seen in " ".join(card.split())


@pytest.mark.parametrize(("accuracy", "calibrated"), [(0.99, True), (1.0, False)])
def test_a_probe_that_is_always_right_is_not_called_calibrated(accuracy: float, calibrated: bool) -> None:
    model = untrained.model(config(), dataset(12, 12, 3, 60, 4))
    trial = replace(model.probe.chosen, validation_accuracy=accuracy)
    model = replace(model, probe=replace(model.probe, chosen=trial, trials=(trial,)))
    card = " ".join(write_card(model, report("accuracy", 71.0, None)).split())
    assert ("so that their softmax is calibrated" in card) is calibrated
    assert ("as if one of two more had been answered wrong" in card) is not calibrated
