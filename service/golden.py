"""The golden images of a bundle: computed again, they tell whether the model still computes what training computed."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.bundle import Bundle, BundleError, Precision

GOLDEN_TOLERANCE = 1e-3
"""Largest golden error of an exact graph that is accepted, as a share of the largest golden value."""

Run = Callable[[NDArray[np.uint8], frozenset[str]], dict[str, NDArray[np.float32]]]


@dataclass(frozen=True)
class Golden:
    """The outcome of computing the golden images again.

    Attributes:
        max_abs_error: Largest absolute difference from what training computed.
        relative_error: Per output, that difference as a share of the largest golden value; the largest of them.
        tolerance: Largest relative error that is accepted.
    """

    max_abs_error: float
    relative_error: float
    tolerance: float = GOLDEN_TOLERANCE

    @property
    def ok(self) -> bool:
        """Whether the model computes what it was trained to compute; NaN is not ok."""
        return self.relative_error <= self.tolerance


class GoldenImages:
    """The images and what training computed for them."""

    def __init__(self, bundle: Bundle, outputs: Iterable[str], precision: Precision) -> None:
        """Reads the file.

        Args:
            bundle: Where it is.
            outputs: Names of the model's outputs; the file holds `features` and `logits`, and may hold others.
            precision: Which of the bundle's graphs; names of the fast one's arrays begin with `fast_`.

        Raises:
            BundleError: There is nothing in it to compare with.
        """
        self._file = f"{bundle.path}/golden.npz"
        arrays = bundle.arrays("golden.npz")
        prefix, self._tolerance = "", GOLDEN_TOLERANCE
        if precision == "fast":
            prefix, self._tolerance = "fast_", bundle.fast.golden_tolerance
        for name in ("images", f"{prefix}features", f"{prefix}logits"):
            if name not in arrays:
                raise BundleError(f"{self._file}: holds no {name}")
        images = arrays["images"]
        if images.dtype != np.uint8 or images.shape[1:] != bundle.shape or not len(images):
            shape = ", ".join(str(size) for size in bundle.shape)
            raise BundleError(f"{self._file}: images are {images.dtype} {images.shape}, not uint8 (N, {shape})")
        self._images = np.ascontiguousarray(images)
        self._expected = {name: arrays[prefix + name].astype(np.float32) for name in outputs if prefix + name in arrays}

    def check(self, run: Run, max_batch: int) -> Golden:
        """Computes the images again.

        Args:
            run: Computes a batch.
            max_batch: Images to give it at a time.

        Raises:
            BundleError: The outputs have other shapes than the golden ones.
        """
        errors = dict.fromkeys(self._expected, 0.0)
        for start in range(0, len(self._images), max_batch):
            part = slice(start, start + max_batch)
            for name, actual in run(self._images[part], frozenset(self._expected)).items():
                expected = self._expected[name][part]
                if actual.shape != expected.shape:
                    raise BundleError(f"{self._file}: {name} has rows {expected.shape}, not {actual.shape}")
                # Unlike max(), this keeps a NaN.
                errors[name] = float(np.maximum(errors[name], np.max(np.abs(actual - expected))))
        largest = {name: max(float(np.max(np.abs(rows))), 1e-12) for name, rows in self._expected.items()}
        relative = [error / largest[name] for name, error in errors.items()]
        return Golden(float(np.max([*errors.values()])), float(np.max(relative)), self._tolerance)
