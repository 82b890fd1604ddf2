"""A run's facts in, its model card out, in the Hugging Face model-card layout."""

import json
from collections.abc import Mapping
from typing import Any

from training.card_training import choice, copies, encoder, filled
from training.export import TrainedModel
from training.presets import paper_figure

PAPER = "Makhzani and Frey, A Winner-Take-All Method for Training Sparse Convolutional Autoencoders (2014)"


def _front_matter(model: TrainedModel, accuracy: Mapping[str, Any]) -> str:
    """The YAML head; values are written as JSON, which is YAML."""
    name, dataset = model.config.name, model.dataset.name
    share = accuracy["value"] if accuracy["metric"] == "accuracy" else 100 - accuracy["value"]
    head: dict[str, Any] = {
        "license": "mit",
        "library_name": "onnx",
        "pipeline_tag": "image-feature-extraction",
        "tags": ["image-feature-extraction", "unsupervised", "sparse-autoencoder", "winner-take-all", "onnx"],
        "datasets": [dataset],
        "metrics": ["accuracy"],
        "model-index": [
            {
                "name": name,
                "results": [
                    {
                        "task": {"type": "image-classification", "name": "Linear probe on frozen features"},
                        "dataset": {"type": dataset, "name": dataset, "split": "test"},
                        "metrics": [{"type": "accuracy", "value": round(share / 100, 6)}],
                    }
                ],
            }
        ],
    }
    return "\n".join(f"{key}: {json.dumps(value)}" for key, value in head.items())


def _layers(model: TrainedModel) -> str:
    rows = ["| layer | maps | filter | pooling | output |", "|---|---|---|---|---|"]
    for layer in model.facts()["layers"]:
        filters = f"{layer['kernel']}×{layer['kernel']}×{layer['channels']}"
        pooling = f"max, width {layer['pool_width']}, stride {layer['pool_stride']}"
        shape = "×".join(str(n) for n in layer["output_shape"])
        rows.append(f"| {layer['layer']} | {layer['maps']} | {filters} | {pooling} | {shape} |")
    return "\n".join(rows)


def _trials(model: TrainedModel) -> str:
    rows = ["| loss | L2 strength | training split | validation split |", "|---|---|---|---|"]
    for trial in model.probe.trials:
        mark = " (chosen)" if trial == model.probe.chosen else ""
        rows.append(
            f"| {trial.loss}{mark} | {trial.strength:g} | {100 * trial.train_accuracy:.2f} % "
            f"| {100 * trial.validation_accuracy:.2f} % |"
        )
    return "\n".join(rows)


PREPROCESSING = {
    "none": "pixels scaled to [0, 1]",
    "contrast": "global contrast normalisation",
    "zca": "global contrast normalisation, then ZCA whitening of the whole image",
    "separable": "global contrast normalisation, then ZCA whitening of the whole image in a separable basis "
    "(eigenvectors of colours × rows × columns)",
}


def _input(model: TrainedModel) -> str:
    """What goes in, and what part of it the graph looks at."""
    height, width = model.size
    text = f"uint8 {height}×{width}, {model.dataset.color_mode}"
    return text if model.dataset.views == 1 else f"{text}, {model.dataset.views} views a sample"


def _ends(model: TrainedModel) -> str:
    """What goes in, what comes out, and what is done before the first layer."""
    features, classes = model.probe.weights.shape
    return filled(
        f"Input: {_input(model)}. Output: {features:,} features and {classes} logits. Preprocessing (inside the "
        f"graph): {_preprocessing(model)}.{_of_all_layers(model)}{_mirrored(model)}"
    )


def _of_all_layers(model: TrainedModel) -> str:
    """What to say of features of several layers, after a space; nothing of others."""
    if not model.config.all_layers:
        return ""
    return " Features are the pooled maps of all layers, side by side; the paper's are the last layer's alone."


def _mirrored(model: TrainedModel) -> str:
    """What to say of mirrored features, after a space; nothing of others."""
    if not model.config.mirrored:
        return ""
    return (
        " Features are the mean of the image's and of its mirror image's, so that both have the same; the paper's are "
        "the image's alone. It takes twice as long."
    )


def _preprocessing(model: TrainedModel) -> str:
    """What the graph does before its first layer."""
    window, text = model.config.window, PREPROCESSING[model.config.whitening]
    if window is None:
        return text
    inner = f"of each view the inner {window.crop}×{window.crop} pixels"
    if window.reduce > 1:
        inner += f", made {window.size}×{window.size} by averaging squares of {window.reduce}×{window.reduce}"
    return f"{inner}; {text}"


def _fewer(model: TrainedModel) -> str:
    """Which layers have learnt from some of the images only."""
    views = model.dataset.views
    total, them = len(model.dataset.train.images) * views, "them" if views == 1 else "their views"
    some = [
        (i, layer.images) for i, layer in enumerate(model.config.layers, 1) if layer.images and layer.images < total
    ]
    return f" ({', '.join(f'layer {i} on {images:,} of {them}' for i, images in some)})" if some else ""


def write_card(model: TrainedModel, report: Mapping[str, Any]) -> str:
    """The text of the bundle's `README.md`.

    Args:
        model: what was trained.
        report: `accuracy`, `data_license` and `training`, as in the manifest.
    """
    config, accuracy, training = model.config, report["accuracy"], report["training"]
    images, (height, width) = len(model.dataset.train.images), model.size
    paper = paper_figure(config.dataset, accuracy["paper"], [layer.maps for layer in config.layers])
    seen = "shapes" if model.dataset.color_mode == "L" else "shapes and colours"
    return f"""---
{_front_matter(model, accuracy)}
---

# {config.name}

Image features without labels: a sparse convolutional autoencoder trained by winner-take-all on the
{images:,} training {model.dataset.samples} of {model.dataset.name}{_fewer(model)}, and a linear probe on its frozen
features.

| | this model | paper |
|---|---|---|
| test {accuracy["metric"]} | **{accuracy["value"]:.2f} %** | {paper or "not in the paper"} |

{accuracy["conditions"]}

## Model

{_ends(model)}

{_layers(model)}

Labels: {", ".join(model.dataset.label_names)}.

## Training

{encoder(model, training["dead_maps"])}

- seed {config.seed}, `{training["command"]}`
- {training["seconds"]:.0f} s on {training["hardware"]}, torch {training["torch"]}
- peak memory {training["peak_memory_mib"]:.0f} MiB

{copies(model)}{choice(model)}

{_trials(model)}

## Limits

It knows the {len(model.dataset.label_names)} classes of {model.dataset.name} and its kind of picture,
{height}×{width} pixels. Its features describe {seen} at that scale; do not use its predictions to decide
about people.

## Licences

Weights: MIT. Data: {report["data_license"]}.

## Source

{PAPER}.
"""
