"""The `fast` variant of a model: its graph in 8-bit integers, calibrated on training images."""
