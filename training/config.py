"""What a run is: frozen settings with a unit per field."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Whitening = Literal["none", "contrast", "zca", "separable"]
ProbeLoss = Literal["logistic", "svm"]


@dataclass(frozen=True)
class Window:
    """The part of an image that is looked at: its centre, made smaller by averaging (paper, section 3.3)."""

    crop: int
    """Width and height of the centre square, in pixels."""
    reduce: int = 1
    """Each square of so many by so many pixels becomes its mean."""

    def __post_init__(self) -> None:
        """Refuse a window that does not consist of whole squares."""
        if self.reduce < 1 or self.crop < 1 or self.crop % self.reduce:
            raise ValueError(f"a crop of {self.crop} pixels does not consist of whole squares of {self.reduce}")

    @property
    def size(self) -> int:
        """Width and height of what is left, in pixels."""
        return self.crop // self.reduce


@dataclass(frozen=True)
class LayerConfig:
    """One sparse convolutional autoencoder and the pooling that follows it.

    The convolution has stride 1 and zero padding, so that each map has the size of its input (paper, section 2).
    """

    maps: int
    """Number of feature maps (filters)."""
    kernel: int
    """Filter width and height in positions of the layer's input; odd."""
    pool_width: int
    """Width of the max-pooling window, in positions."""
    pool_stride: int
    """Stride of the max-pooling, in positions; below `pool_width`, so that windows overlap."""
    epochs: int = 4
    """Passes over the training images."""
    batch_images: int = 64
    """Images a gradient step."""
    learning_rate: float = 2e-3
    """Adam's step size at its peak; it rises over `warmup_steps` and falls linearly to zero."""
    warmup_steps: int = 50
    """Gradient steps until the peak learning rate."""
    init_std: float = 0.01
    """Standard deviation of the initial filters. A large one leaves noise where whitening leaves no signal."""
    images: int | None = None
    """Train on this many of the training images, the first after the shuffle; by default on all of them."""

    def __post_init__(self) -> None:
        """Refuse sizes that the paper's layer does not have."""
        if self.kernel % 2 == 0:
            raise ValueError(f"kernel must be odd, so that maps keep the size of the input: {self.kernel}")
        if not 0 < self.learning_rate < math.inf:
            raise ValueError(f"learning_rate must be a number above 0: {self.learning_rate}")
        for name in ("maps", "pool_width", "pool_stride", "epochs", "batch_images"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1: {getattr(self, name)}")
        if self.images is not None and self.images < 1:
            raise ValueError(f"images must be at least 1: {self.images}")
        if self.pool_stride > self.pool_width:
            raise ValueError(f"pool_stride {self.pool_stride} above pool_width {self.pool_width} would skip positions")


@dataclass(frozen=True)
class AugmentationConfig:
    """Changed copies of the training images, for the probe to learn from beside them; all are drawn uniformly."""

    copies: int
    """Of each image."""
    mirror: bool = False
    """Every other copy, from the first on, is mirrored left to right."""
    shift: float = 0.0
    """Moved by up to so many pixels in each direction."""
    rotation: float = 0.0
    """Turned by up to so many degrees either way."""
    zoom: float = 0.0
    """Enlarged or made smaller by up to this share."""
    elastic: float = 0.0
    """Bent: the 5 x 5 knots of a grid over the image are moved by up to so many pixels in each direction, and what is
    between them smoothly. Simard et al. 2003 draw every pixel's move and blur; a grid needs fewer numbers."""

    def __post_init__(self) -> None:
        """Refuse copies that are all alike."""
        if self.copies < 1:
            raise ValueError(f"copies must be at least 1: {self.copies}")
        for name in ("shift", "rotation", "zoom", "elastic"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative: {getattr(self, name)}")
        if not self.warps and not (self.mirror and self.copies == 1):
            raise ValueError(f"copies would be alike: {'only mirrored' if self.mirror else 'not changed'}")

    @property
    def warps(self) -> bool:
        """Whether pixels are interpolated."""
        return max(self.shift, self.rotation, self.zoom, self.elastic) > 0


@dataclass(frozen=True)
class ProbeConfig:
    """The linear classifier on the frozen features, chosen on a validation split of the training set."""

    losses: tuple[ProbeLoss, ...] = ("svm", "logistic")
    """Losses to try: squared hinge one against all, multinomial logistic."""
    strengths: Mapping[ProbeLoss, tuple[float, ...]] = field(
        default_factory=lambda: {"svm": (0.3, 1.0, 3.0), "logistic": (0.03, 0.1, 0.3)}
    )
    """L2 strengths to try: the weight of |w|²/2 beside the mean loss, on features scaled to unit variance a map."""
    validation_fraction: float = 0.2
    """Share of the training images that choose loss and strength; the probe is then refitted on all of them."""
    max_iterations: int = 60
    """Solver iterations at most, two passes over the features each."""
    tolerance: float = 3e-3
    """A fit ends when its gradient norm falls below this share of the first one's."""
    augmentation: AugmentationConfig | None = None
    """Copies to fit to besides the images (the paper has none); held-out images are judged as they are."""


def plain(settings: Any) -> dict[str, Any]:
    """A frozen dataclass of settings as JSON types; without what the paper's networks, or most, do not have."""
    skipped = (
        *(("augmentation", None), ("mirrored", False), ("all_layers", False)),
        *(("elastic", 0.0), ("dropout", 0.5)),
    )
    fields: dict[str, Any] = dataclasses.asdict(
        settings, dict_factory=lambda items: dict(item for item in items if item not in skipped)
    )
    return fields


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides the numbers of a run.

    Equal configs on equal data give equal weights with the same code, libraries, processor and number of threads.
    """

    name: str
    """Name of the bundle, after the paper's network."""
    dataset: str
    """`mnist`, `cifar10`, `norb` or `rendered-stereo`."""
    layers: tuple[LayerConfig, ...]
    """Bottom layer first."""
    window: Window | None = None
    """The part of each image that is looked at; all of it by default."""
    whitening: Whitening = "none"
    """`none` scales pixels to [0, 1]; `contrast` normalises contrast; the others then whiten the whole image."""
    whitening_epsilon: float = 0.1
    """Added to each eigenvalue of the contrast-normalised images' covariance before the inverse square root."""
    contrast_epsilon: float = 10.0
    """Added to each image's variance, in squared grey levels of 0 to 255 (Coates et al. 2011)."""
    mirrored: bool = False
    """Pooled maps are the mean of the image's and its mirror image's (the paper's are the image's); takes twice as
    long."""
    all_layers: bool = False
    """Features are the pooled maps of all layers, side by side (the paper's are the last layer's)."""
    probe: ProbeConfig = field(default_factory=ProbeConfig)
    seed: int = 0
    """Seeds the initial filters, the order of the images and the validation split."""
    paper_value: float | None = None
    """The paper's figure on the test set, in percent."""
    metric: Literal["accuracy", "error"] = "accuracy"
    """How the paper states the figure."""

    def __post_init__(self) -> None:
        """Refuse a seed that numpy or torch would not take, and to bring together what is one."""
        if self.seed < 0:
            raise ValueError(f"seed must not be negative: {self.seed}")
        if self.seed >= 1 << 63:
            raise ValueError(f"seed must be below 2**63: {self.seed}")
        if self.all_layers and len(self.layers) < 2:
            raise ValueError("all_layers: there is but one layer")

    def to_json(self) -> dict[str, Any]:
        """The config as plain JSON types."""
        return plain(self)
