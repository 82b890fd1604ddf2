"""What the paper compares winner-take-all training with, and the alternatives to it that the paper mentions."""
