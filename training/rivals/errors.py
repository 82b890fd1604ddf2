"""What can go wrong with a rival."""


class NotFittedError(RuntimeError):
    """Something was asked of a model before it had been fitted."""

    def __init__(self) -> None:
        super().__init__("call fit first")
