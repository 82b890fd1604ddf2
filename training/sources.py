"""Where images come from: an array, or a folder of files that are decoded when they are asked for."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps
from tqdm import tqdm

from training.colours import coloured, scale_key, upright

Pixels = npt.NDArray[np.uint8]
Indices = slice | npt.NDArray[np.int64]
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff"})


MOST_BROKEN = 10
"""Files that an error names."""
CHECKED_IMAGES = 1024
"""Files that are looked through at a time."""


class ImageError(RuntimeError):
    """An image file cannot be decoded."""


class ImageSource(Protocol):
    """N images of one size, uint8; an array is one."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, H, W, C)."""
        ...

    def __len__(self) -> int:
        """N."""
        ...

    def __getitem__(self, indices: Indices, /) -> Pixels:
        """Some of the images, uint8 (B, H, W, C)."""
        ...


def decode(path: Path, size: int, color_mode: str) -> Pixels:
    """Read an image file as the service does: upright, transparency over white, centre square, bicubic.

    Args:
        path: the file.
        size: height and width of the result, in pixels.
        color_mode: `L` or `RGB`.

    Returns:
        uint8 (size, size, C).

    Raises:
        ImageError: it is broken; the message names it.
    """
    try:
        with Image.open(path) as opened:
            opened.load()
            if opened.format == "PNG":
                with path.open("rb") as file:
                    scale_key(opened, depth=file.read(25)[24])
            image = coloured(upright(opened), color_mode)
    except Exception as error:  # Pillow's decoders raise whatever comes up
        raise ImageError(f"{path}: {error}") from error
    if image.size != (size, size):
        image = ImageOps.fit(image, (size, size), Image.Resampling.BICUBIC)
    return np.asarray(image, np.uint8).reshape(size, size, -1)


class FolderSource:
    """Image files, decoded by a pool of threads when they are asked for; no pixels are kept.

    Args:
        paths: the files.
        size: height and width to bring them to, in pixels.
        color_mode: `L` or `RGB`.
    """

    def __init__(self, paths: Sequence[str], size: int, color_mode: str) -> None:
        self.paths, self.size, self.color_mode = paths, size, color_mode
        self._pool = ThreadPoolExecutor(len(os.sched_getaffinity(0)), thread_name_prefix="decode")

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, H, W, C)."""
        return len(self.paths), self.size, self.size, 1 if self.color_mode == "L" else 3

    def __len__(self) -> int:
        """N."""
        return len(self.paths)

    def __getitem__(self, indices: Indices, /) -> Pixels:
        """Decode some of the images.

        Raises:
            ImageError: one is broken; all other files have been looked through, and the message names those that are.
        """
        numbers = range(*indices.indices(len(self))) if isinstance(indices, slice) else indices
        images = self._pool.map(lambda i: decode(Path(self.paths[i]), self.size, self.color_mode), numbers)
        out = np.empty((len(numbers), *self.shape[1:]), np.uint8)
        try:
            for row, image in zip(out, images, strict=True):
                row[:] = image
        except ImageError as error:
            raise self._broken("looking for others") or error from None
        return out

    def check(self, title: str) -> None:
        """Decode every image once, and keep none.

        Args:
            title: of the progress bar.

        Raises:
            ImageError: some are broken; the message names them.
        """
        error = self._broken(title)
        if error is not None:
            raise error

    def _broken(self, title: str) -> ImageError | None:
        """What is wrong with which files: nobody wants to learn of each by another run."""
        broken: list[str] = []
        with tqdm(total=len(self), unit="img", desc=title, leave=False) as bar:
            for start in range(0, len(self), CHECKED_IMAGES):
                some = self.paths[start : start + CHECKED_IMAGES]
                broken += filter(None, self._pool.map(self._fault, some))
                bar.update(len(some))
        if len(broken) < 2:
            return ImageError(broken[0]) if broken else None
        broken.sort()
        more = [f"and {len(broken) - MOST_BROKEN:,} more"] if len(broken) > MOST_BROKEN else []
        head = f"{len(broken):,} of {len(self):,} images cannot be decoded:"
        return ImageError("\n  ".join([head, *broken[:MOST_BROKEN], *more]))

    def _fault(self, path: str) -> str | None:
        """Why a file cannot be decoded; None if it can."""
        try:
            decode(Path(path), self.size, self.color_mode)
        except ImageError as error:
            return str(error)
        return None

    def identity(self) -> bytes:
        """What tells other images from these without decoding them."""
        shared = os.path.commonpath([os.path.abspath(path) for path in self.paths])
        lines = [self.color_mode]
        for path in self.paths:
            status = os.stat(path)
            lines.append(f"{os.path.relpath(path, shared)} {status.st_size} {status.st_mtime_ns}")
        return "\n".join(lines).encode(errors="surrogateescape")

    def take(self, order: npt.NDArray[np.int64]) -> "FolderSource":
        """The same files in another order."""
        return FolderSource([self.paths[i] for i in order], self.size, self.color_mode)


@runtime_checkable
class LazySource(ImageSource, Protocol):
    """Images that are made when they are asked for."""

    def take(self, order: npt.NDArray[np.int64]) -> ImageSource:
        """The same images in another order, without making them."""
        ...


def reorder(source: ImageSource, order: npt.NDArray[np.int64]) -> ImageSource:
    """The same images in another order."""
    if not isinstance(source, np.ndarray) and isinstance(source, LazySource):
        return source.take(order)
    return source[order]


def prefetch(source: ImageSource, batches: Iterator[npt.NDArray[np.int64]]) -> Iterator[Pixels]:
    """Batches of images, each made ready while the one before is worked on."""
    with ThreadPoolExecutor(1, thread_name_prefix="prefetch") as pool:
        following: Future[Pixels] | None = None
        for indices in batches:
            ready, following = following, pool.submit(source.__getitem__, indices)
            if ready is not None:
                yield ready.result()
        if following is not None:
            yield following.result()
