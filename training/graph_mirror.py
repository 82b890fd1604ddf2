"""Nodes that look at an image and its mirror image, and nodes that bring the two together again."""

from collections.abc import Sequence

import numpy as np

from training.graph_writer import GraphWriter


def write_mirror(writer: GraphWriter, images: str) -> str:
    """Images (N, H, W, C), and after them their mirror images, left to right: (2 * N, H, W, C)."""
    slices = {"first": -1, "last": np.iinfo(np.int64).min, "axis": 2, "step": -1}
    backwards = [writer.constant(f"mirror.{name}", np.array([value], np.int64)) for name, value in slices.items()]
    return writer.add("Concat", [images, writer.add("Slice", [images, *backwards], "mirror")], "both_ways", axis=0)


def write_mean(writer: GraphWriter, maps: str, shape: Sequence[int]) -> str:
    """Maps (2 * N, *shape), first of all images, then of their mirror images, to their mean (N, *shape)."""
    apart = writer.constant(f"{maps}.apart", np.array([2, -1, *shape], np.int64))
    both = writer.add("Reshape", [maps, apart], f"{maps}.both")
    axis = writer.constant(f"{maps}.axis", np.zeros(1, np.int64))
    return writer.add("ReduceMean", [both, axis], f"{maps}.mean", keepdims=0)
