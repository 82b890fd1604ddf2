"""The schema of a bundle's `manifest.json`; fields that this version does not know are left alone."""

from pathlib import PurePosixPath
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
Positive = Annotated[int, Field(ge=1, le=1_000_000_000)]


def _inside(path: str) -> str:
    """Confines a file to its bundle: a plain relative path, never upwards."""
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or "\\" in path or "\x00" in path or ".." in parts:
        raise ValueError("must stay inside the bundle's folder")
    return path


FilePath = Annotated[str, AfterValidator(_inside)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Resize(_Part):
    """How an image becomes H × W; `background` is the grey level of `contain`'s padding."""

    mode: Literal["stretch", "cover", "contain"]
    filter: Literal["box", "bilinear", "bicubic", "lanczos"]
    background: int = Field(0, ge=0, le=255)


class Input(_Part):
    """What the model takes: `views` images make one sample, stacked along the channel axis."""

    height: int = Field(ge=1, le=4096)
    width: int = Field(ge=1, le=4096)
    channels: int = Field(ge=1, le=64)
    color_mode: Literal["L", "RGB"]
    views: int = Field(1, ge=1, le=16)
    alpha_background: Literal["black", "white"]
    resize: Resize

    @model_validator(mode="after")
    def _channels_follow_colours(self) -> "Input":
        bands = len(self.color_mode)
        if self.channels not in (bands, bands * self.views):
            raise ValueError(f"channels is {self.channels}, but {self.color_mode} has {bands} in each view")
        return self


class Layer(_Part):
    """One trained layer; `channels` are its inputs."""

    layer: Positive
    maps: Positive
    channels: Positive
    kernel: Positive
    pool_stride: Positive | None = None
    output_shape: tuple[Positive, ...]


class FileFact(_Part):
    """What a file must be."""

    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    bytes: int = Field(ge=0)


class Fast(_Part):
    """The graph in 8-bit integers; its golden outputs are the exact graph's names with `fast_` before them."""

    file: FilePath
    golden_tolerance: float = Field(gt=0, le=0.1)


class Direct(_Part):
    """The exact graph once more, its layers written as plain convolutions: for processors that multiply faster."""

    file: FilePath


class Manifest(_Part):
    """What a bundle says of itself, as far as serving needs it."""

    schema_version: Literal[1]
    name: Name
    version: Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]{0,8}$")]
    dataset: str
    input: Input
    labels: tuple[str, ...] = Field(min_length=1)
    feature_dim: Positive
    layers: tuple[Layer, ...] = Field(min_length=1)
    files: dict[FilePath, FileFact]
    fast: Fast | None = None
    direct: Direct | None = None

    @model_validator(mode="after")
    def _files_are_listed(self) -> "Manifest":
        graphs = [graph.file for graph in (self.fast, self.direct) if graph is not None]
        for name in ("model.onnx", "filters.npz", "golden.npz", *graphs):
            if name not in self.files:
                raise ValueError(f"files does not list {name}")
        return self
