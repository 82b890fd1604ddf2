"""Past the paper: its networks with probes that learn from changed copies of the training images too."""

from training.presets import PRESETS
from training.reproduce.catalogue import configs
from training.reproduce.catalogue.tables import ACCURACY, ERROR
from training.reproduce.jobs.sca import FinalRun
from training.reproduce.rows import Row

COPIES = "moved, turned, zoomed copies of each image"

BEST = (
    Row(
        "mnist shallow 128 with copies",
        "best",
        "**Shallow SCA, 128 maps** (bundled)",
        ERROR,
        0.64,
        FinalRun(PRESETS["mnist-shallow"]),
        note=f"the probe also sees 3 {COPIES}",
    ),
    Row(
        "mnist deep 128+512 with copies",
        "best",
        "**Deep SCA, 128 and 512 maps** (bundled)",
        ERROR,
        0.48,
        FinalRun(configs.varied(PRESETS["mnist-deep"], "mnist-deep", 0.48, maps=512)),
        note=f"the probe also sees 6 {COPIES}; the paper has 2048 maps",
    ),
    Row(
        "cifar10 shallow 512 with copies",
        "best",
        "**Shallow SCA, 512 maps** (bundled)",
        ACCURACY,
        72.7,
        FinalRun(PRESETS["cifar10-shallow"]),
        note="the probe also sees each image mirrored",
    ),
)
