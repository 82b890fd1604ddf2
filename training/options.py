"""The command line of `python -m training.run` in, a config out."""

import argparse
import dataclasses
import re
from pathlib import Path
from typing import Any

from training.config import ProbeConfig, RunConfig
from training.presets import DEFAULT_PRESETS, MIRRORED_PHOTOGRAPHS, PRESETS


class OptionError(RuntimeError):
    """An option does not go with the others."""


OF_FOLDER: dict[str, Any] = {"size": 32, "color_mode": "RGB"}
"""What goes with --folder alone, unless it is given."""
FOLDER_NAME = "custom-shallow"
DATA_DIR = Path("data")


def numbers(text: str) -> list[int]:
    """`128,512` as numbers, for argparse."""
    return [int(number) for number in text.split(",")]


def _add_training(parser: argparse.ArgumentParser) -> None:
    """What a preset leaves to the user: how the layers and the probe learn, and where."""
    parser.add_argument("--seed", type=int, default=0, help="of everything random (%(default)s)")
    parser.add_argument("--epochs", type=int, help="passes over the training images, each layer")
    parser.add_argument("--maps", type=numbers, help="feature maps of the last layer, or of each: 128,512")
    parser.add_argument("--learning-rate", type=float, help="of the last layer (default: the preset's)")
    parser.add_argument("--layer-images", type=int, help="images that the last layer is trained on (default: all)")
    parser.add_argument(
        "--whitening", choices=("none", "contrast", "zca", "separable"), help="preprocessing of the images"
    )
    parser.add_argument(
        "--copies",
        type=int,
        help="changed copies of each training image that the probe learns from too (0: none, as in the paper)",
    )
    parser.add_argument(
        "--mirrored",
        action=argparse.BooleanOptionalAction,
        help="features are the mean of the image's and its mirror image's; serving takes twice as long "
        "(default: as the preset says)",
    )
    parser.add_argument(
        "--all-layers",
        action=argparse.BooleanOptionalAction,
        help="features are the maps of all layers, side by side, and not those of the last one alone "
        "(default: as the preset says)",
    )
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="cpu", help="where to train (%(default)s)")
    parser.add_argument("--threads", type=int, default=0, help="processor threads (0: all that this process may use)")


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        allow_abbrev=False,
        prog="python -m training.run",
        description="Train a sparse convolutional autoencoder and its probe, and write a model bundle. "
        "An interrupted run resumes when it is started again, to the same result.",
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--dataset", choices=sorted(DEFAULT_PRESETS), help="train the shallow network of this data set")
    what.add_argument(
        "--preset",
        choices=sorted(PRESETS),
        help="train a network of the paper's sizes, with our probe (as in the paper: --copies 0 --no-mirrored)",
    )
    what.add_argument("--folder", type=Path, help="train on your own images: train/<label>/* and test/<label>/*")
    of_folder = ", ".join(f"{key} {value}" for key, value in OF_FOLDER.items())
    parser.add_argument("--name", help=f"of the bundle (default: the preset's; with --folder {FOLDER_NAME})")
    parser.add_argument(
        "--size", type=int, help=f"pixels to bring the images to, with --folder (by default {of_folder})"
    )
    parser.add_argument("--color-mode", choices=("RGB", "L"), help="with --folder")
    parser.add_argument("--data-dir", type=Path, help=f"official files, kept here ({DATA_DIR})")
    parser.add_argument("--no-download", action="store_true", help="fail instead of downloading missing files")
    parser.add_argument("--models-dir", type=Path, default=Path("models"), help="where the bundle goes (%(default)s)")
    parser.add_argument("--runs-dir", type=Path, default=Path("runs"), help="checkpoints and logs (%(default)s)")
    parser.add_argument("--version", help="the bundle's version; replaces one that exists (default: the next free one)")
    parser.add_argument("--fresh", action="store_true", help="throw an earlier attempt's state away")
    _add_training(parser)
    options = parser.parse_args(arguments)
    options.given = [key for key in (*OF_FOLDER, "data_dir") if getattr(options, key) is not None]
    for key, value in (*OF_FOLDER.items(), ("data_dir", DATA_DIR)):
        setattr(options, key, value if getattr(options, key) is None else getattr(options, key))
    if options.name is None:
        options.name = FOLDER_NAME if options.folder else options.preset or DEFAULT_PRESETS[options.dataset]
    return options


MAX_SIZE = 4096
MAX_THREADS = 1024
"""Of a process; far more cannot be started."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
VERSION = re.compile(r"[1-9][0-9]{0,8}")
"""As the service reads them."""


def check(options: argparse.Namespace) -> None:
    """Refuse, before the hours, what would not give a bundle that can be served.

    Raises:
        OptionError: an option's value cannot be.
    """
    if not NAME.fullmatch(options.name):
        raise OptionError(f"--name may have letters, digits, dots, dashes and underscores: {options.name!r}")
    if options.version is not None and not VERSION.fullmatch(options.version):
        raise OptionError(f"--version is a number from 1 on: {options.version!r}")
    if not 1 <= options.size <= MAX_SIZE:
        raise OptionError(f"--size must be from 1 to {MAX_SIZE} pixels: {options.size}")
    if not 0 <= options.threads <= MAX_THREADS:
        raise OptionError(f"--threads must be from 0 to {MAX_THREADS}: {options.threads}")
    if options.copies is not None and options.copies < 0:
        raise OptionError(f"--copies must not be negative: {options.copies}")
    for key in options.given:
        if (key in OF_FOLDER) != bool(options.folder):
            option = "--" + key.replace("_", "-")
            raise OptionError(f"{option} goes {'with' if key in OF_FOLDER else 'without'} --folder")


def config_of(options: argparse.Namespace) -> RunConfig:
    """The preset with the command line's changes."""
    if options.folder:
        base = PRESETS["cifar10-shallow"]
        # nobody has said that these pictures mean the same when they are mirrored
        probe = dataclasses.replace(base.probe, augmentation=None)
        dataset = options.folder.resolve().name
        config = dataclasses.replace(base, dataset=dataset, probe=probe, paper_value=None)
    else:
        config = PRESETS[options.preset or DEFAULT_PRESETS[options.dataset]]
    layers = list(config.layers)
    if options.epochs is not None:
        layers = [dataclasses.replace(layer, epochs=options.epochs) for layer in layers]
    if options.maps:
        if len(options.maps) not in (1, len(layers)):
            raise OptionError(f"--maps: {len(options.maps)} numbers for {len(layers)} layers")
        first = len(layers) - len(options.maps)
        layers[first:] = [
            dataclasses.replace(layer, maps=maps) for layer, maps in zip(layers[first:], options.maps, strict=True)
        ]
    if options.learning_rate is not None:
        layers[-1] = dataclasses.replace(layers[-1], learning_rate=options.learning_rate)
    if options.layer_images is not None:
        layers[-1] = dataclasses.replace(layers[-1], images=options.layer_images)
    mirrored = config.mirrored if options.mirrored is None else options.mirrored
    probe = _probe(config, mirrored, options.copies)
    whitening = options.whitening or config.whitening
    all_layers = config.all_layers if options.all_layers is None else options.all_layers
    if all_layers and len(layers) < 2:
        raise OptionError(f"--all-layers: {config.name} has but one layer")
    decided = {"probe": probe, "seed": options.seed, "whitening": whitening}
    decided |= {"mirrored": mirrored, "all_layers": all_layers}
    return dataclasses.replace(config, name=options.name, layers=tuple(layers), **decided)


def _probe(config: RunConfig, mirrored: bool, copies: int | None) -> ProbeConfig:
    """The config's probe, with copies that differ from the images, and as many as are asked for.

    Raises:
        OptionError: there cannot be so many different ones.
    """
    changes = config.probe.augmentation
    if mirrored and changes and changes.mirror and not changes.warps:
        changes = MIRRORED_PHOTOGRAPHS  # a copy that is only mirrored has the image's own features
    if copies is not None:
        if copies and changes is None:
            raise OptionError(f"--copies {copies}: nothing says how images of {config.dataset} may be changed")
        try:
            changes = dataclasses.replace(changes, copies=copies) if copies and changes else None
        except ValueError as error:
            raise OptionError(f"--copies {copies}: {error}") from error
    return dataclasses.replace(config.probe, augmentation=changes)
