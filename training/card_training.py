"""A run's facts in, what its model card says of the training out: how encoder and probe have learnt."""

import textwrap

from training.config import LayerConfig
from training.export import TrainedModel

WIDTH = 120


def _apart(model: TrainedModel) -> str:
    """How the encoder has seen samples of several views."""
    views = model.dataset.views
    return "" if views == 1 else f"; it learnt from the {views} views of each sample as images of their own"


def copies(model: TrainedModel) -> str:
    """What the probe has learnt from besides the images."""
    augmentation = model.config.probe.augmentation
    if augmentation is None:
        return ""
    count = augmentation.copies
    changes = [
        f"{text} up to {amount:g} {unit}"
        for text, amount, unit in (
            ("moved by", augmentation.shift, "pixels"),
            ("turned by", augmentation.rotation, "degrees"),
            ("enlarged or made smaller by", 100 * augmentation.zoom, "%"),
            ("bent by", augmentation.elastic, "pixels"),
        )
        if amount
    ]
    if augmentation.mirror:
        changes.insert(0, "mirrored" if count == 1 else "every other one mirrored")
    each = "a copy" if count == 1 else f"{count} copies"
    text = (
        f"Beside each training image the probe has learnt from {each} of it, {', '.join(changes)}; the paper's has "
        "not. Images that are held out or tested are taken as they are."
    )
    return f"{filled(text)}\n\n"


def choice(model: TrainedModel) -> str:
    """How the probe was chosen and calibrated."""
    chosen = model.probe.chosen
    said = (
        f"The probe's loss and strength were chosen on {model.config.probe.validation_fraction:.0%} of the training "
        "images held out, then it was refitted on all of them; its logits are divided by the temperature "
        f"{chosen.temperature:.3f}, "
    )
    if chosen.validation_accuracy < 1:
        return filled(said + "fitted on the same held-out images, so that their softmax is calibrated.")
    # see `training.probe.temperature_of`
    return filled(
        said + "fitted on the same held-out images as if one of two more had been answered wrong: all of them were "
        "answered right, which tells only how high the temperature may be."
    )


def encoder(model: TrainedModel, dead_maps: int) -> str:
    """How the layers were trained."""
    layers = "; ".join(_recipe(model, layer) for layer in model.config.layers)
    dead = "1 map was" if dead_maps == 1 else f"{dead_maps} maps were"
    return filled(f"The encoder has seen no label{_apart(model)}. Per layer: {layers}. {dead} dead in the last epoch.")


def filled(text: str) -> str:
    """A paragraph of the card in lines."""
    return textwrap.fill(text, WIDTH, break_long_words=False, break_on_hyphens=False)


def _recipe(model: TrainedModel, layer: LayerConfig) -> str:
    views = model.dataset.views
    there = len(model.dataset.train.images) * views
    some = f" of {layer.images:,} of the {'images' if views == 1 else 'views'}" if layer.images else ""
    epochs = "1 epoch" if layer.epochs == 1 else f"{layer.epochs} epochs"
    batch = min(layer.batch_images, layer.images or there, there)  # as `training.fit` does
    return (
        f"{layer.maps} maps, {epochs}{some} in batches of {batch}, Adam with learning rate "
        f"{layer.learning_rate:g} (rising over {layer.warmup_steps} steps, falling linearly to zero), "
        f"filters initialised with deviation {layer.init_std:g}"
    )
