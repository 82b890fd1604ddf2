"""The report's fixed text: what was compared, and how."""

from training.reproduce.rows import Section

HEAD = """# The paper, row by row

Alireza Makhzani, Brendan Frey: *A Winner-Take-All Method for Training Sparse Convolutional Autoencoders*, 2014, beside
what this repository measures. Bold systems are run here, the others stand with the numbers that the paper gives for
them. [paper.json](paper.json) has every row with its command, each seed's number, and its conditions; both files are
written by `python -m training.reproduce`, which measures what has no number on the machine yet (`--list` says how long
that takes); numbers of other machines stay until it has.

**Splits.** Encoders learn from all training images, without labels. All that is chosen, by us or by a program
(learning rates, filter widths, the probe's loss and strength), is chosen on a random fifth of the training images,
whose labels the classifier on trial has not seen. Settings whose trials have no number yet (see [Choices](#choices))
were set before there was this report, and stand unproven. The test set is read once per final network and seed, at
the end of its row; trials get a data set without one. A number that has replaced an earlier one is listed under
[Conditions](#conditions).

**Probe.** Every unsupervised system gets the same classifier on frozen features: a linear one, logistic or squared
hinge, L2-regularised, on features scaled to unit variance a map; chosen on the held-out fifth, then refitted on all
training images. (Table 2's k-means has the squared hinge alone, as in its paper. The paper's probe is logistic
regression; here MNIST's 128 maps chose the squared hinge. Some of the largest networks chose the strongest penalty
that they were offered, some of the smallest the weakest: a better one may lie beyond.) Only in [Past the
paper](#past-the-paper) it also sees changed copies of the training images, and features of mirror images.

**Numbers.** Mean ± standard deviation over seeds 0, 1, …; a seed changes the initial filters, the order of the images
and the held-out fifth. A row gets three seeds, long ones, pictures and trials one; the column says how many it has
had so far. The time is one seed's, from images to number, on two processor cores (or the GPU that is named) that may
have done other work beside; a layer that another row has trained alike is not trained again, its time counts.
"""
BEFORE = """A bundled network has read the test set three times: for its row, for its exact graph, and for its 8-bit
graph. Bundles of other settings that came before were read, too: `mnist-shallow` 0.73 and 0.76 % wrong (8-bit 0.74 %),
and 0.76 to 0.85 % in five runs while its recipe was worked out; `cifar10-shallow` 72.27 and 72.15 % right (8-bit
72.10 %); `cifar10-deep` 77.38 % (8-bit 77.37 %)."""
"""What was read before there were rows."""

SECTIONS: dict[Section, tuple[str, str]] = {
    "table 1": (
        "Table 1: MNIST",
        "Test error. Layer 2 sees layer 1's pooled 10×10 maps and is pooled to 5×5 (width 3, stride 2).",
    ),
    "table 2": (
        "Table 2: CIFAR-10",
        "Test accuracy. Images are contrast-normalised and whitened: ZCA in a separable basis (eigenvectors of colours "
        "× rows × columns), where the paper has the full matrix, which took 0.2 points more on held-out images, less "
        "than half a standard error. Layer 2 sees layer 1's pooled 8×8 maps and is pooled to 4×4 (width 3, stride 2). "
        "How wide its filters are, the paper does not say: see [Choices](#choices).",
    ),
    "table 3": (
        "Table 3: small NORB",
        "Test error. The published files could not be had; with them in `--data-dir`, `--table 3` measures the rows.",
    ),
    "figure 1": (
        "Figure 1: whole images against patches",
        "(c) Test accuracy over the number of feature maps. *Raw* images are contrast-normalised, *whitened* ones "
        "also whitened: whole images for SCA and the supervised net, 6×6 patches for k-means (with quadrant pooling). "
        "At equal maps SCA's vector is 16 times as long as k-means'. The supervised net has SCA's convolution and "
        "pooling and learns from all training images with their labels: eight passes, a rate that falls to zero from "
        "0.001, a quarter of the pooled features dropped. Rate and dropout were chosen on held-out images "
        "with 32 and with 128 whitened maps (see [Choices](#choices)) and are the same for all sizes. The paper plots "
        "the cross-validation of Coates et al. 2011; all points here are on the test set.",
    ),
    "figure 2": (
        "Figure 2: without sparsity",
        "The middle one of 81 pixels would hold 0.012 of the energy by chance, and holds 0.01 to 0.06 of it in filters "
        "that were learnt with sparsity. The picture shows points on a background that is not quite empty: this "
        "mostly bears the paper out.",
    ),
    "figure 3": ("Figure 3: a digit on its way", "Each map and each filter is shown in its own contrast."),
    "figure 4": ("Figure 4: filters of raw images", ""),
    "figure 5": ("Figure 5: stereo", ""),
    "claims": (
        "What the text says",
        "Accuracy on the held-out fifth of CIFAR-10's training images: comparing rules does not need the test set. 64 "
        "maps (128 under a second layer), otherwise the settings of Table 2's shallow network.",
    ),
    "labels": (
        "Few labels",
        "Test error (MNIST) or accuracy (CIFAR-10) with 10, 100 and 1000 labels a class. The probe is chosen by "
        "five-fold cross-validation on these labels alone (by one fifth of them with 1000 a class). The supervised "
        "net learns from the same images for 200, 1000 and 2000 steps of 64 images; its rate and the share of features "
        "that is dropped were chosen on held-out images (see [Choices](#choices)). Each seed's number is the mean of "
        "4, 2 and 1 random draws. The encoder has seen all training images and no label, the supervised net the drawn "
        "images only. The time is that of the classifiers, without the encoder's.",
    ),
    "best": (
        "Past the paper",
        "The same encoders, used as well as we know how: the probe also learns from changed copies of the training "
        "images, and where the row says so, features are the mean of the image's and its mirror image's, which takes "
        "twice as long. All this was chosen on the held-out fifth, whose images are judged as they are. The paper's "
        "number is that of its nearest network, whose features and probe have seen the images alone.",
    ),
    "choices": (
        "Choices",
        "What the paper leaves open, on the held-out fifth of the training images. Trials of a second layer use 512 "
        "maps and 20,000 images, to be short; those with mirrored features have 128 maps below. What is used is not "
        "always the best of its trials: a setting that was in use, or that takes less time, has stayed where another "
        "one was ahead by a quarter of a point or less. So it was with `mnist 16` (by 0.02 points), `mnist second "
        "layer` (0.03, with 5×5 filters), `cifar10 512` (0.05), `cifar10 layer 2 of 1024` (0.24, with all images), "
        "`cifar10 second layer` (0.20) and the supervised net (0.22, with twice the passes: it could be that much "
        "better than Figure 1 shows it). On CIFAR-10 the features of both layers were 0.43 points ahead, and are "
        "twice as many. One standard error of a number here is about 0.1 points on MNIST's 12,000 held-out images, "
        "and 0.4 to 0.5 on CIFAR-10's 10,000.",
    ),
}
"""Title and words of each section, in the order of the report."""
