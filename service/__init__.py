"""The service half: serves the model bundles of `models/` over HTTP; it knows nothing of `training`."""

__version__ = "0.1.0"
