"""`python -m training.run --dataset cifar10`: rebuild a model, from official files to a bundle."""

import argparse
import json
import os
import sys
import zipfile
from pathlib import Path

from training.packages import installed

with installed():
    import torch

    from training import parallel
    from training.commands import recorded_command
    from training.config import RunConfig
    from training.datasets import DataError, Dataset, load
    from training.export import ParityError
    from training.features import CPU
    from training.fit import DivergedError
    from training.folders import load_folder
    from training.options import OptionError, check, config_of, parse
    from training.pipeline import Pipeline
    from training.runfolder import ConfigError, clear
    from training.served import PlaceError, announcement, refuse_other
    from training.sources import FolderSource, ImageError
    from training.summary import Summary

REFUSED = (OptionError, PlaceError, DataError, ImageError, ConfigError, DivergedError, ParityError, OSError)
"""What a run ends with in one line, as the user can mend it."""


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


def _check_test_images(dataset: Dataset) -> None:
    """Decode the test images of a folder, which are not needed until the training is done.

    Raises:
        ImageError: some are broken.
    """
    if isinstance(dataset.test.images, FolderSource) and parallel.is_first():
        dataset.test.images.check("test images")
    parallel.wait()


def _report(summary: Summary, last: str | None) -> None:
    """Print what a run has ended with, and a line below it; of a job's processes the first does."""
    if parallel.is_first():
        print("", summary.text(), *([last] if last else []), sep="\n")


def _train(config: RunConfig, options: argparse.Namespace, folder: Path, command: str) -> None:
    """Train, or go on where an earlier attempt has ended; nothing is touched before the images are known to fit."""
    dataset = load_dataset(config, options)
    wanted, there = config.layers[-1].images or 0, len(dataset.train.images) * dataset.views
    if wanted > there:
        raise OptionError(f"--layer-images {wanted}: there are only {there}")
    refuse_other(options.models_dir / config.name, dataset)
    device = pick_device(options.device)
    parallel.wait()  # all have looked at what is there
    if options.fresh:
        _check_test_images(dataset)
        if parallel.is_first():
            clear(folder)
    parallel.wait()
    pipeline = Pipeline(config, dataset, folder, options.models_dir, command, options.version, device)
    earlier = pipeline.finished()
    if earlier:
        _report(earlier, "already finished; --fresh trains again")
        return
    if not options.fresh:
        _check_test_images(dataset)
    if pipeline.folder.has_learnt() and parallel.is_first():
        print(f"going on from what {folder} holds; --fresh begins anew", file=sys.stderr)
    summary = pipeline.run()
    _report(summary, announcement(summary.bundle))


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
    try:
        _train(config, options, folder, recorded_command("training.run", arguments))
    except (*REFUSED, DeviceError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except (json.JSONDecodeError, zipfile.BadZipFile) as error:
        print(f"error: what {folder} holds cannot be read ({error}); --fresh begins anew", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\nstopped; the same command goes on from the checkpoints in {folder}", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
