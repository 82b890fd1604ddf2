"""Small NORB's files in, pairs of images with their labels out.

LeCun, Huang, Bottou, Learning Methods for Generic Object Recognition with Invariance to Pose and Lighting, CVPR 2004:
toys of five categories, ten of each, before two cameras at 9 elevations and 18 azimuths in 6 lightings. A split is
three matrices: `dat` uint8 (N, 2, 96, 96), the views; `cat` int32 (N,), the categories; `info` int32 (N, 4), instance,
elevation, azimuth and lighting.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from training import matrices
from training.splits import DataError, Dataset, Split

URL = "https://cs.nyu.edu/~ylclab/data/norb-v1.0-small/"
TRAIN = "smallnorb-5x46789x9x18x6x2x96x96-training"
TEST = "smallnorb-5x01235x9x18x6x2x96x96-testing"
FILES = {
    f"{TRAIN}-dat.mat": (
        "5ffd6272a07d32695ee1082a26a41a93a37aab8c28da047f8c34ed348d214873",
        "8138a0902307b32dfa0025a36dfa45ec",
    ),
    f"{TRAIN}-cat.mat": (
        "2784e542c1922060691090952b6cd6278879a216c90f81476f0f00256d42cdaa",
        "fd5120d3f770ad57ebe620eb61a0b633",
    ),
    f"{TRAIN}-info.mat": (
        "de7eb932ebe7a4ee16217fead60660d0eb3d23632c2f4d1c51f88c501c17bf32",
        "19faee774120001fc7e17980d6960451",
    ),
    f"{TEST}-dat.mat": (
        "cf7104eed3e51174d2f65b66d1e5878b9da233b886f161b0d88f4510ba2c7474",
        "e9920b7f7b2869a8f1a12e945b2c166c",
    ),
    f"{TEST}-cat.mat": (
        "ecaf6d5bb8c3bc5eab9cf0258f6d2198dd474e016e374836fc097f2e5ff509ff",
        "fd5120d3f770ad57ebe620eb61a0b633",
    ),
    f"{TEST}-info.mat": (
        "16adf314226327ee006d1a44db8cfef52773c06c829951d5653a9f6f310248a2",
        "7c5b871cc69dcadec1bf6a18141f5edc",
    ),
}
"""Name of each published file: SHA-256 of the `.gz` archive, MD5 of what it holds (a local file may be unpacked)."""
LABELS = ("animal", "human", "airplane", "truck", "car")
LICENSE = "for research only, not to be sold; cite LeCun, Huang, Bottou, CVPR 2004"
INFO_SIZES = (10, 9, 36, 6)
"""Numbers below which instance, elevation (30 + 5 n degrees), azimuth (10 n degrees) and lighting stay."""


def find(folder: Path, name: str) -> Path | None:
    """A file of this name, or the same gzipped."""
    return next((path for path in (folder / name, folder / f"{name}.gz") if path.exists()), None)


def read(
    name: str, paths: Mapping[str, Path], splits: tuple[str, str], labels: tuple[str, ...], license: str
) -> Dataset:
    """A data set from its six files.

    Args:
        name: what to call it.
        paths: where each file is, by its plain name.
        splits: what the names of the training and of the test files begin with.
        labels: names of the categories.
        license: of the images.

    Raises:
        DataError: a file is broken, is not the published one of its name, or does not fit the others.
    """
    (train, seen), (test, unseen) = (_split(split, paths, len(labels)) for split in splits)
    if len(np.intersect1d(seen, unseen)):
        raise DataError(f"{name}: the test set shows objects that are in the training set")
    return Dataset(name, train, test, label_names=labels, color_mode="L", license=license, views=2)


def _split(split: str, paths: Mapping[str, Path], classes: int) -> tuple[Split, npt.NDArray[np.int64]]:
    """A split, whose groups are the objects' instance numbers, and a number for each object in it."""
    names = [f"{split}-{kind}.mat" for kind in ("dat", "cat", "info")]
    views, categories, info = (matrices.read(paths[name], FILES.get(name, ("", None))[1]) for name in names)
    count = len(views)
    if views.dtype != np.uint8 or views.ndim != 4 or views.shape[1] != 2:
        raise DataError(f"{paths[names[0]]} holds {views.dtype} {views.shape}, not pairs of images")
    for name, matrix, shape in zip(names[1:], (categories, info), ((count,), (count, 4)), strict=True):
        if matrix.dtype != np.int32 or matrix.shape != shape:
            raise DataError(f"{paths[name]} holds {matrix.dtype} {matrix.shape}, not int32 {shape}")
    if categories.min() < 0 or categories.max() >= classes:
        raise DataError(f"{paths[names[1]]} holds other categories than 0 to {classes - 1}")
    if (info < 0).any() or (info >= INFO_SIZES).any():
        raise DataError(f"{paths[names[2]]} holds instances, elevations, azimuths or lightings that there are not")
    labels, instances = categories.astype(np.int64), info[:, 0].astype(np.int64)
    # seen in another order, not copied: the set is half a gigabyte
    return Split(np.moveaxis(views, 1, 3), labels, instances), np.unique(labels * INFO_SIZES[0] + instances)
