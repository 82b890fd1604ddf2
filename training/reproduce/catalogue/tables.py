"""The paper's three tables: every system it lists, ours measured, the others with their published numbers."""

from training.presets import PRESETS
from training.reproduce.catalogue import configs
from training.reproduce.jobs.kmeans import KMeansFinal
from training.reproduce.jobs.sca import FinalRun
from training.reproduce.rows import UNAVAILABLE, Row

ERROR, ACCURACY = "error %", "accuracy %"

TABLE_1 = (
    Row(
        "mnist shallow deconvolutional net 16",
        "table 1",
        "Shallow deconvolutional net, differentiable Gaussian pooling, 16 maps",
        ERROR,
        1.38,
    ),
    Row(
        "mnist deep deconvolutional net",
        "table 1",
        "Deep deconvolutional net, differentiable Gaussian pooling",
        ERROR,
        0.84,
    ),
    Row("mnist deep convolutional belief net", "table 1", "Deep convolutional belief networks", ERROR, 0.82),
    Row("mnist ranzato et al.", "table 1", "Ranzato et al.", ERROR, 0.64),
    Row("mnist shallow 16", "table 1", "**Shallow SCA, 16 maps**", ERROR, 1.15, FinalRun(configs.MNIST_16)),
    Row("mnist shallow 128", "table 1", "**Shallow SCA, 128 maps**", ERROR, 0.64, FinalRun(configs.MNIST)),
    Row(
        "mnist deep 128+2048",
        "table 1",
        "**Deep SCA, 128 and 2048 maps**",
        ERROR,
        0.48,
        FinalRun(configs.varied(configs.MNIST_DEEP, "mnist-deep", 0.48, images=configs.IMAGES)),
        note=configs.LAYER_2,
    ),
)

TABLE_2 = (
    Row("cifar10 3-way factored rbm", "table 2", "3-way factored RBM (3 layers)", ACCURACY, 65.3),
    Row("cifar10 mean-covariance rbm", "table 2", "Mean-covariance RBM (3 layers)", ACCURACY, 71.0),
    Row("cifar10 spike-and-slab rbm", "table 2", "Spike-and-slab RBM", ACCURACY, 76.7),
    Row("cifar10 spike-and-slab sparse coding", "table 2", "Spike-and-slab sparse coding", ACCURACY, 78.3),
    Row(
        "cifar10 convolutional dbn",
        "table 2",
        "Convolutional deep belief net (2 layers), fine-tuned with labels",
        ACCURACY,
        78.9,
    ),
    Row(
        "cifar10 triangle k-means 1600",
        "table 2",
        "**Triangle k-means, 1600 maps**",
        ACCURACY,
        77.9,
        KMeansFinal("cifar10", 1600),
        note="6×6 patches, whitened, quadrant pooling, and an SVM, all as in Coates et al. 2011",
    ),
    Row("cifar10 shallow 512", "table 2", "**Shallow SCA, 512 maps**", ACCURACY, 72.7, FinalRun(configs.CIFAR10)),
    Row(
        "cifar10 deep 512+4096",
        "table 2",
        "**Deep SCA, 512 and 4096 maps**",
        ACCURACY,
        78.1,
        FinalRun(configs.varied(configs.CIFAR10_DEEP, "cifar10-deep", 78.1, images=configs.IMAGES)),
        note=configs.LAYER_2,
    ),
)

TABLE_3 = (
    Row("norb deep boltzmann machine", "table 3", "Deep Boltzmann machines", ERROR, 7.2),
    Row("norb third-order rbm", "table 3", "Third-order RBM", ERROR, 6.5),
    Row("norb deep belief net", "table 3", "Deep belief network", ERROR, 5.0),
    Row("norb triangle k-means 4000", "table 3", "Triangle k-means, 4000 maps", ERROR, 2.7),
    Row(
        "norb shallow 128",
        "table 3",
        "**Shallow SCA, 128 maps**",
        ERROR,
        6.6,
        FinalRun(PRESETS["norb-shallow"]),
        reason=UNAVAILABLE,
    ),
    Row(
        "norb deep 128+2048",
        "table 3",
        "**Deep SCA, 128 and 2048 maps**",
        ERROR,
        4.7,
        FinalRun(PRESETS["norb-deep"]),
        reason=UNAVAILABLE,
    ),
)
