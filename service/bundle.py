"""`models/<name>/<version>/` → a frozen Bundle, every file verified; one that differs from its manifest is refused."""

import hashlib
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
import orjson
from numpy.lib import format as npy_format
from numpy.typing import NDArray
from pydantic import ValidationError

from service.images import ImageRule
from service.manifest import Fast, Layer, Manifest
from service.npy import PARSING

Precision = Literal["exact", "fast"]
"""Which of a bundle's graphs: float32, or 8-bit integers."""

_CHUNK = 1 << 20
_MAX_MANIFEST_BYTES = 4 << 20
_NPZ_ERRORS = (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error)
"""What reading an archive of arrays raises where it is none."""


class BundleError(Exception):
    """A bundle cannot be served; the message is one line that names the file."""


@dataclass(frozen=True)
class Bundle:
    """A verified bundle.

    Attributes:
        path: Its folder.
        manifest: Its parsed manifest.
        document: The manifest as it is on disk, for clients.
        rule: How its images are decoded.
    """

    path: Path
    manifest: Manifest
    document: dict[str, Any]
    rule: ImageRule

    @property
    def name(self) -> str:
        """Name of the model."""
        return self.manifest.name

    @property
    def version(self) -> str:
        """Version, a positive integer as text."""
        return self.manifest.version

    @property
    def fast(self) -> Fast:
        """The graph in integers.

        Raises:
            BundleError: The bundle has none.
        """
        if self.manifest.fast is None:
            raise BundleError(f"{self.path}/manifest.json: tells of no fast graph")
        return self.manifest.fast

    def graph_file(self, precision: Precision, direct: bool = False) -> str:
        """Name of the file of the graph in a precision; the direct form of the exact one, if there is one, if asked."""
        if precision == "fast":
            return self.fast.file
        return self.manifest.direct.file if direct and self.manifest.direct is not None else "model.onnx"

    @cached_property
    def shape(self) -> tuple[int, int, int]:
        """(H, W, C) of one sample; a stereo model's C holds both views."""
        return (self.rule.height, self.rule.width, self.rule.bands * self.manifest.input.views)

    def arrays(self, name: str) -> dict[str, NDArray[Any]]:
        """Reads all arrays of an `.npz` file of the bundle, without pickle.

        Raises:
            BundleError: The file is no such archive.
        """
        try:
            with zipfile.ZipFile(self.path / name) as archive:
                return {key.removesuffix(".npy"): _read_array(archive, key) for key in archive.namelist()}
        except _NPZ_ERRORS as error:
            raise BundleError(f"{self.path / name}: not a readable .npz of plain arrays ({error})") from error


def _read_array(archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    """Reads one array of an `.npz` file; others wait for its header at most, which takes no time, and not for its data.

    Raises:
        ValueError: It is no plain array.
    """
    with archive.open(name) as stream:
        shape, fortran, dtype = _read_header(stream, name)
        flat = np.frombuffer(stream.read(), dtype)
        return flat.reshape(shape[::-1]).T if fortran else flat.reshape(shape)


def _read_header(stream: IO[bytes], name: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = npy_format.read_magic(stream)
    with PARSING:
        read = npy_format.read_array_header_1_0 if version == (1, 0) else npy_format.read_array_header_2_0
        shape, fortran, dtype = read(stream)
    if dtype.hasobject:
        raise ValueError(f"{name} holds objects")
    return shape, fortran, dtype


def find_versions(models_dir: Path) -> dict[str, list[str]]:
    """Lists the versions of each model in a models folder, the highest first; versions compare as numbers.

    Raises:
        BundleError: The folder cannot be read.
    """
    found: dict[str, list[str]] = {}
    try:
        for manifest in models_dir.glob("*/*/manifest.json"):
            version = manifest.parent.name
            if version.isdecimal():
                found.setdefault(manifest.parent.parent.name, []).append(version)
    except OSError as error:
        raise BundleError(f"{models_dir}: {error.strerror}") from error
    return {name: sorted(found[name], key=int, reverse=True) for name in sorted(found)}


def find_misplaced(models_dir: Path) -> list[str]:
    """Tells of what looks like a bundle and is not found as one, in a sentence each."""
    inner = [path for path in models_dir.glob("*/*") if path.is_dir() and not path.name.startswith(".")]
    outer = [file.parent for file in (*models_dir.glob("manifest.json"), *models_dir.glob("*/manifest.json"))]
    odd = [path for path in inner if (path / "manifest.json").exists() and not path.name.isdecimal()]
    bare = [path for path in inner if (path / "model.onnx").exists() and not (path / "manifest.json").exists()]
    return [f"{path} is not served: its manifest.json is not in <name>/<version>/" for path in (*outer, *odd)] + [
        f"{path} is not served: it has no manifest.json" for path in bare
    ]


def load_bundle(path: Path) -> Bundle:
    """Reads a bundle and checks all of it.

    Args:
        path: Its folder, `<name>/<version>` at the end.

    Raises:
        BundleError: Something is missing or differs from the manifest.
    """
    manifest, document = read_manifest(path)
    if manifest.name != path.parent.name:
        raise BundleError(f"{path}/manifest.json: says {manifest.name}, not what its folder says")
    for name, fact in manifest.files.items():
        _verify(path, name, fact.sha256, fact.bytes)
    _check_filters(path / "filters.npz", manifest.layers)
    given = manifest.input
    rule = ImageRule(
        height=given.height,
        width=given.width,
        color_mode=given.color_mode,
        alpha_background=given.alpha_background,
        resize_mode=given.resize.mode,
        resize_filter=given.resize.filter,
        resize_background=given.resize.background,
    )
    return Bundle(path, manifest, document, rule)


def read_manifest(path: Path) -> tuple[Manifest, dict[str, Any]]:
    """Reads and checks `manifest.json` alone.

    The version is its folder's: that is what makes a copy of version 1 a version 2, here as with Triton.

    Raises:
        BundleError: It is missing, no JSON, or not of the schema.
    """
    file = path / "manifest.json"
    try:
        if file.stat().st_size > _MAX_MANIFEST_BYTES:
            raise BundleError(f"{file}: larger than {_MAX_MANIFEST_BYTES} bytes")
        document = orjson.loads(file.read_bytes())
        if isinstance(document, dict) and "version" in document:
            document["version"] = path.name
        return Manifest.model_validate(document), document
    except OSError as error:
        raise BundleError(f"{file}: {error.strerror}") from error
    except orjson.JSONDecodeError as error:
        raise BundleError(f"{file}: not JSON: {error}") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "manifest"
        raise BundleError(f"{file}: {where}: {first['msg']}") from error


def _check_filters(file: Path, layers: Sequence[Layer]) -> None:
    """Reads no more than headers: the pictures are for later, but not the news that there will be none."""
    try:
        with zipfile.ZipFile(file) as archive:
            headers = {}
            for name in archive.namelist():
                with archive.open(name) as stream:
                    headers[name] = _read_header(stream, name)
    except _NPZ_ERRORS as error:
        raise BundleError(f"{file}: not a readable .npz of plain arrays ({error})") from error
    for layer in layers:
        expected = (layer.maps, layer.channels, layer.kernel, layer.kernel)
        for name in (f"layer{layer.layer}_decoder.npy", f"layer{layer.layer}_encoder.npy"):
            if name not in headers:
                raise BundleError(f"{file}: {name} is missing")
            shape, _, dtype = headers[name]
            if (shape, dtype) != (expected, np.dtype(np.float32)):
                raise BundleError(f"{file}: {name} is {dtype} {shape}, expected float32 {expected}")


def _verify(folder: Path, name: str, sha256: str, size: int) -> None:
    file = folder / name
    # A link inside the bundle could still lead out of it.
    if not file.resolve().is_relative_to(folder.resolve()):
        raise BundleError(f"{file}: leads out of the bundle")
    try:
        actual_size = file.stat().st_size
        if actual_size != size:
            raise BundleError(f"{file}: has {actual_size} bytes, expected {size} with sha256 {sha256}")
        digest = hashlib.sha256()
        with file.open("rb") as stream:
            while chunk := stream.read(_CHUNK):
                digest.update(chunk)
    except OSError as error:
        raise BundleError(f"{file}: {error.strerror}; expected sha256 {sha256}") from error
    if digest.hexdigest() != sha256:
        raise BundleError(f"{file}: sha256 is {digest.hexdigest()}, expected {sha256}")
