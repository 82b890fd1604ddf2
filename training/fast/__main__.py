"""`python -m training.fast models/cifar10-shallow/1 --data-dir data`: give a bundle that has none a fast variant."""

import argparse
import json
import sys
from pathlib import Path

from training.packages import installed

with installed():
    from training.datasets import DataError, load
    from training.export import ParityError
    from training.fast.bundle import add, has_learnt_from
    from training.folders import load_folder
    from training.options import MAX_THREADS
    from training.sources import ImageError


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m training.fast",
        description="Add the int8 variant to a model bundle, calibrated on the training images of its data set. "
        "Training does this by itself; this is for bundles that were made before it did.",
    )
    parser.add_argument("bundle", type=Path, help="<models>/<name>/<version>; its files are replaced all at once")
    parser.add_argument("--data-dir", type=Path, default=Path("data"), help="official files, kept here (%(default)s)")
    parser.add_argument("--no-download", action="store_true", help="fail instead of downloading missing files")
    parser.add_argument("--folder", type=Path, help="your own images, for a bundle that was trained on them")
    parser.add_argument("--threads", type=int, default=0, help="processor threads (0: all that this process may use)")
    options = parser.parse_args(arguments)
    if not 0 <= options.threads <= MAX_THREADS:
        parser.error(f"--threads must be from 0 to {MAX_THREADS}: {options.threads}")
    return options


def main(arguments: list[str] | None = None) -> int:
    """Run it; returns the exit status: 0, or 1 with one line on what is wrong."""
    options = parse(arguments)
    try:
        options.bundle = options.bundle.resolve()
        facts = json.loads((options.bundle / "manifest.json").read_text(encoding="utf-8"))
        if options.folder:
            shape = facts["input"]
            dataset = load_folder(facts["dataset"], options.folder, shape["height"], shape["color_mode"])
        else:
            dataset = load(facts["dataset"], options.data_dir, not options.no_download)
        if list(dataset.label_names) != facts["labels"]:
            raise DataError(f"{dataset.name} has other labels than {options.bundle} has learnt")
        if not has_learnt_from(options.bundle, dataset):
            raise DataError(f"{options.bundle} has learnt from other images than the {dataset.name} that is given")
        add(options.bundle, dataset, options.threads)
    except (DataError, ImageError, ParityError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except Exception as error:  # the readers of a broken manifest or graph raise whatever comes up
        print(f"error: {options.bundle} is no whole bundle: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    fast = json.loads((options.bundle / "manifest.json").read_text(encoding="utf-8"))["fast"]
    print(json.dumps(fast, indent=2, ensure_ascii=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
