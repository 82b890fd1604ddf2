"""Sizes of a piece of work in, a rough duration on two processor cores out: what is said before a job begins.

The rates are those of two cores of an AMD EPYC; a duration that was measured replaces the estimate.
"""

from training.config import LayerConfig, ProbeConfig, RunConfig

MULTIPLICATIONS = 1.2e11
"""Multiply-adds a second of a convolution."""
UNIT_SECONDS = 1e-9
"""What one unit of a map costs besides: written, read, pooled."""
FEATURE_SECONDS = 0.7e-9
"""What one feature of one image costs in one pass of the probe's solver."""
ITERATIONS = 0.6
"""Share of the solver's iterations that are needed."""

SIZES = {
    "mnist": (60_000, 10_000, 28, 1),
    "cifar10": (50_000, 10_000, 32, 3),
    "norb": (48_600, 48_600, 32, 1),
    "rendered-stereo": (48_600, 48_600, 32, 1),
}
"""Training images, test images, height and width, channels; each view of a pair is an image."""


def layer_seconds(layer: LayerConfig, size: int, channels: int) -> float:
    """One image through one layer with an input of `size` x `size` and `channels`."""
    units = layer.maps * size * size
    return units * (layer.kernel**2 * channels / MULTIPLICATIONS + UNIT_SECONDS)


def pooled(layer: LayerConfig, size: int) -> int:
    """Height and width of a layer's pooled maps."""
    return (size + 2 * (layer.pool_width // 2) - layer.pool_width) // layer.pool_stride + 1


def network_seconds(config: RunConfig) -> tuple[float, float, int]:
    """Training the layers; one image through all of them; features of an image."""
    images, _, size, channels = SIZES[config.dataset]
    training, through, features = 0.0, 0.0, 0
    for layer in config.layers:
        one = layer_seconds(layer, size, channels)
        seen = layer.epochs * min(layer.images or images, images)
        training += seen * (through + one)
        through += one
        size, channels = pooled(layer, size), layer.maps
        features = channels * size * size + (features if config.all_layers else 0)
    return training, through * (2 if config.mirrored else 1), features


def probe_seconds(images: int, features: int, config: ProbeConfig, final: bool = True) -> float:
    """Choosing the probe on `images` of `features` numbers, and refitting it."""
    fits = len(config.losses) + (1 if final else 0)
    passes = 2 * config.max_iterations * ITERATIONS * fits
    return passes * images * features * FEATURE_SECONDS


def run_seconds(config: RunConfig, final: bool) -> float:
    """A whole run: the layers, the features, the probe, and if it is final the test set."""
    images, tested, _, _ = SIZES[config.dataset]
    training, through, features = network_seconds(config)
    augmentation = config.probe.augmentation
    fitted = images * (1 + augmentation.copies if augmentation else 1)
    looked_at = fitted + (tested if final else 0)
    return 20 + training + looked_at * through + probe_seconds(fitted, features, config.probe, final)


def spoken(seconds: float) -> str:
    """A duration as one says it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
