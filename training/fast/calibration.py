"""An exact graph and training images in, the range of each channel of its tensors out: what int8 has to cover."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime  # type: ignore[import-untyped]  # it ships no types
from onnx import TensorProto, helper

from training.sources import ImageSource, Pixels

IMAGES = 2048
"""Training images that ranges are taken from; as many others show how far the result deviates."""
BLOCK = 64
"""Images in a run, and behind one pair of extremes."""

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Range:
    """Smallest and largest value of each channel, both (C,) float32.

    Of blocks of images, on average: the one picture in thousands that goes far beyond would coarsen all the others.
    """

    low: Floats
    high: Floats


def spread(total: int, count: int, part: int = 0, parts: int = 1) -> npt.NDArray[np.int64]:
    """Numbers of `count` images, evenly spread over `total`: files of a folder come class by class.

    Args:
        total: images that there are.
        count: images to take; all of them, if there are fewer.
        part: which of several samples that have no image in common, from 0.
        parts: how many such samples there are.
    """
    if total <= count * parts:
        return np.arange(part, total, parts)
    return (np.arange(count) * parts + part) * total // (count * parts)


def blocks(images: ImageSource, numbers: npt.NDArray[np.int64]) -> Iterator[Pixels]:
    """The images of these numbers, uint8 (B, H, W, C), in their order."""
    for start in range(0, len(numbers), BLOCK):
        yield images[numbers[start : start + BLOCK]]


def measure(exact: onnx.ModelProto, images: ImageSource, tensors: Sequence[str], threads: int = 0) -> dict[str, Range]:
    """Run the exact graph over training images.

    Args:
        exact: the graph.
        images: the training images, uint8 (N, H, W, C).
        tensors: names of tensors (N, C, H, W) in it.
        threads: as many as the runtime may use; 0 leaves the choice to it.
    """
    model = onnx.ModelProto()
    model.CopyFrom(exact)
    del model.graph.output[:]
    model.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in tensors)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    seen: dict[str, list[Range]] = {name: [] for name in tensors}
    for block in blocks(images, spread(len(images), IMAGES, part=0, parts=2)):
        for name, values in zip(tensors, session.run(list(tensors), {"images": block}), strict=True):
            seen[name].append(Range(values.min((0, 2, 3)), values.max((0, 2, 3))))
    return {
        name: Range(np.mean([r.low for r in found], axis=0), np.mean([r.high for r in found], axis=0))
        for name, found in seen.items()
    }
