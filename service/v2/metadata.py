"""What a v2 client may know of the server and its models, in the protocol's and Triton's words."""

from typing import Any

from service import __version__
from service.model import Model
from service.settings import Settings

EXTENSIONS = ("binary_tensor_data", "classification", "model_configuration", "statistics")
_PLATFORM = "onnxruntime_onnx"


def of_server() -> dict[str, Any]:
    """Describes the server."""
    return {"name": "sca-features", "version": __version__, "extensions": EXTENSIONS}


def of_model(model: Model) -> dict[str, Any]:
    """Describes a model; of its inputs, a request brings one.

    Raises:
        NotReady: It is not loaded.
    """
    return {
        "name": model.name,
        "versions": [model.version],
        "platform": _PLATFORM,
        "inputs": [
            {"name": "images", "datatype": "UINT8", "shape": [-1, *model.bundle.shape]},
            {"name": "files", "datatype": "BYTES", "shape": [-1]},
        ],
        "outputs": [
            {"name": name, "datatype": "FP32", "shape": [-1, *shape]} for name, shape in model.session.outputs.items()
        ],
    }


def of_configuration(model: Model, settings: Settings) -> dict[str, Any]:
    """Describes a model as Triton's ModelConfig does, with the fields that have a meaning here.

    Raises:
        NotReady: It is not loaded.
    """
    kind = "KIND_GPU" if model.session.provider.startswith("CUDA") else "KIND_CPU"
    return {
        "name": model.name,
        "platform": _PLATFORM,
        "backend": "onnxruntime",
        "default_model_filename": "model.onnx",
        "version_policy": {"latest": {"num_versions": 1}},
        "max_batch_size": settings.max_images,
        "input": [
            {"name": "images", "data_type": "TYPE_UINT8", "dims": model.bundle.shape},
            {"name": "files", "data_type": "TYPE_STRING", "dims": [], "optional": True},
        ],
        "output": [
            {"name": name, "data_type": "TYPE_FP32", "dims": shape} for name, shape in model.session.outputs.items()
        ],
        "instance_group": [{"name": model.name, "kind": kind, "count": model.session.runs}],
        "dynamic_batching": {"max_queue_delay_microseconds": round(settings.max_wait_ms * 1000)},
    }
