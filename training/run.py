"""`python -m training.run --dataset cifar10`: rebuild a model, from official files to a bundle."""

import argparse
import dataclasses
import json
import os
import re
import shlex
import shutil
import sys
import zipfile
from pathlib import Path

import torch

from training import parallel
from training.config import ProbeConfig, RunConfig
from training.datasets import DataError, Dataset, load
from training.export import ParityError
from training.features import CPU
from training.fit import DivergedError
from training.folders import load_folder
from training.pipeline import Pipeline, Summary
from training.presets import DEFAULT_PRESETS, PRESETS
from training.runfolder import ConfigError
from training.sources import ImageError


def numbers(text: str) -> list[int]:
    """`128,512` as numbers, for argparse."""
    return [int(number) for number in text.split(",")]


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
    what.add_argument("--preset", choices=sorted(PRESETS), help="train one of the paper's networks")
    what.add_argument("--folder", type=Path, help="train on your own images: train/<label>/* and test/<label>/*")
    parser.add_argument("--name", default="custom-shallow", help="of the bundle, with --folder (%(default)s)")
    parser.add_argument(
        "--size", type=int, default=32, help="pixels to bring the images to, with --folder (%(default)s)"
    )
    parser.add_argument("--color-mode", choices=("RGB", "L"), default="RGB", help="with --folder (%(default)s)")
    parser.add_argument("--data-dir", type=Path, default=Path("data"), help="official files, kept here (%(default)s)")
    parser.add_argument("--no-download", action="store_true", help="fail instead of downloading missing files")
    parser.add_argument("--models-dir", type=Path, default=Path("models"), help="where the bundle goes (%(default)s)")
    parser.add_argument("--runs-dir", type=Path, default=Path("runs"), help="checkpoints and logs (%(default)s)")
    parser.add_argument("--version", help="the bundle's version; replaces one that exists (default: the next free one)")
    parser.add_argument("--fresh", action="store_true", help="throw an earlier attempt's state away")
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
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="cpu", help="where to train (%(default)s)")
    parser.add_argument("--threads", type=int, default=0, help="processor threads (0: all that this process may use)")
    return parser.parse_args(arguments)


MAX_SIZE = 4096
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
    if options.threads < 0:
        raise OptionError(f"--threads must not be negative: {options.threads}")


def config_of(options: argparse.Namespace) -> RunConfig:
    """The preset with the command line's changes."""
    if options.folder:
        base = PRESETS["cifar10-shallow"]
        # nobody has said that these pictures mean the same when they are mirrored
        probe = dataclasses.replace(base.probe, augmentation=None)
        dataset = options.folder.resolve().name
        config = dataclasses.replace(base, name=options.name, dataset=dataset, probe=probe, paper_value=None)
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
    probe = config.probe if options.copies is None else _with_copies(config, options.copies)
    whitening = options.whitening or config.whitening
    mirrored = config.mirrored if options.mirrored is None else options.mirrored
    return dataclasses.replace(
        config, layers=tuple(layers), probe=probe, seed=options.seed, whitening=whitening, mirrored=mirrored
    )


class OptionError(RuntimeError):
    """An option does not go with the others."""


def _with_copies(config: RunConfig, copies: int) -> ProbeConfig:
    """The config's probe with another number of copies.

    Raises:
        OptionError: there cannot be so many different ones.
    """
    changes = config.probe.augmentation
    if copies and changes is None:
        raise OptionError(f"--copies {copies}: nothing says how images of {config.dataset} may be changed")
    try:
        augmentation = dataclasses.replace(changes, copies=copies) if copies and changes else None
    except ValueError as error:
        raise OptionError(f"--copies {copies}: {error}") from error
    return dataclasses.replace(config.probe, augmentation=augmentation)


class DeviceError(RuntimeError):
    """The GPU that was asked for is not there."""


def pick_device(name: str) -> torch.device:
    """The device of this process: with several GPUs, the one of its number on this machine.

    Raises:
        DeviceError: `cuda` was asked for and cannot be had; it never falls back in silence.
    """
    there = torch.cuda.is_available()
    if name == "cuda" and not there:
        raise DeviceError("--device cuda: this torch finds no CUDA device")
    if name == "cpu" or not there:
        return CPU
    # Float32 as on the processor. Convolutions in TF32, torch's default, keep 10 bits of each factor: winners change.
    torch.backends.cudnn.allow_tf32 = False
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))


def load_dataset(config: RunConfig, options: argparse.Namespace) -> Dataset:
    """The images to train on; of a job's processes the first downloads what is missing, for all."""
    if options.folder:
        return load_folder(config.dataset, options.folder, options.size, options.color_mode)
    dataset = load(config.dataset, options.data_dir, not options.no_download) if parallel.is_first() else None
    parallel.wait()
    return dataset or load(config.dataset, options.data_dir, download=False)


def _report(summary: Summary) -> None:
    accuracy, training = summary.manifest["accuracy"], summary.manifest["training"]
    paper = f" (paper: {accuracy['paper']:g} %)" if accuracy["paper"] is not None else ""
    size = sum(file["bytes"] for file in summary.manifest["files"].values())
    print()
    print(f"test {accuracy['metric']}   {accuracy['value']:.2f} %{paper}")
    print(f"features       {summary.manifest['feature_dim']:,}")
    print(f"dead maps      {training['dead_maps']}")
    print(f"time           {sum(summary.stages.values()):.0f} s:", end=" ")
    print(", ".join(f"{stage} {seconds:.0f} s" for stage, seconds in summary.stages.items()))
    print(f"peak memory    {training['peak_memory_mib']:,} MiB")
    print(f"bundle         {summary.bundle} ({size / 1e6:.1f} MB)")


def main(arguments: list[str] | None = None) -> int:
    """Run it; returns the exit status: 0, or 1 with one line on what is wrong."""
    options = parse(arguments)
    with parallel.job():
        return run(options, sys.argv[1:] if arguments is None else arguments)


def run(options: argparse.Namespace, arguments: list[str]) -> int:
    """See `main`."""
    try:
        check(options)
        config = config_of(options)
    except (OptionError, ValueError) as error:  # a config refuses what cannot be
        print(f"error: {error}", file=sys.stderr)
        return 1
    torch.set_num_threads(options.threads or torch.get_num_threads())
    folder = options.runs_dir / f"{config.name}-seed{config.seed}"
    if options.fresh and parallel.is_first():
        shutil.rmtree(folder, ignore_errors=True)
    parallel.wait()
    command = "python -m training.run " + shlex.join(arguments)
    try:
        dataset = load_dataset(config, options)
        device = pick_device(options.device)
        summary = Pipeline(config, dataset, folder, options.models_dir, command, options.version, device).run()
    except (DataError, ImageError, ConfigError, DivergedError, ParityError, DeviceError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except (json.JSONDecodeError, zipfile.BadZipFile) as error:
        print(f"error: what {folder} holds cannot be read ({error}); --fresh begins anew", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\nstopped; the same command goes on from the checkpoints in {folder}", file=sys.stderr)
        return 130
    if parallel.is_first():
        _report(summary)
    return 0


if __name__ == "__main__":
    sys.exit(main())
