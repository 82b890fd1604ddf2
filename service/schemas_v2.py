"""The OpenAPI document's schemas of the v2 routes' JSON answers, in the words of that protocol and of Triton."""

from service.schemas import Schema, listed, member_of, ref

_TEXT: Schema = {"type": "string"}
_FLAG: Schema = {"type": "boolean"}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_DIMS = listed({"type": "integer", "minimum": -1}, "-1 is any number.")
_IF_RED = {"error": _TEXT | {"description": "Why it is not; only then."}}
_STAGES = ("success", "fail", "compute_input", "queue", "compute_infer", "compute_output")
_NAMED = {"name": _TEXT}
_KINDS = {"enum": ["UINT8", "BYTES", "FP32"]}
_TRITON_KINDS = {"enum": ["TYPE_UINT8", "TYPE_STRING", "TYPE_FP32"]}

V2_SCHEMAS: dict[str, Schema] = {
    "V2Error": member_of({"error": _TEXT}, description="Any error of /v2."),
    "V2Server": member_of(_NAMED | {"version": _TEXT, "extensions": listed(_TEXT)}),
    "V2Live": member_of({"live": _FLAG} | _IF_RED, "error"),
    "V2Ready": member_of({"live": _FLAG, "ready": _FLAG} | _IF_RED, "error"),
    "V2ModelReady": member_of(_NAMED | {"ready": _FLAG} | _IF_RED, "error"),
    "V2Index": listed(
        member_of(
            _NAMED
            | {
                "version": _TEXT,
                "state": {"enum": ["READY", "LOADING", "UNAVAILABLE"]},
                "reason": _TEXT | {"description": "Empty if it is ready."},
            }
        )
    ),
    "V2Model": member_of(
        _NAMED
        | {
            "versions": listed(_TEXT),
            "platform": _TEXT,
            "inputs": listed(ref("V2Tensor"), "Of which a request brings one."),
            "outputs": listed(ref("V2Tensor")),
        }
    ),
    "V2Tensor": member_of(_NAMED | {"datatype": _KINDS, "shape": _DIMS}),
    "V2Config": member_of(
        _NAMED
        | {
            "platform": _TEXT,
            "backend": _TEXT,
            "default_model_filename": _TEXT,
            "version_policy": member_of({"latest": member_of({"num_versions": _COUNT})}),
            "max_batch_size": _COUNT,
            "input": listed(
                member_of(_NAMED | {"data_type": _TRITON_KINDS, "dims": _DIMS, "optional": _FLAG}, "optional")
            ),
            "output": listed(member_of(_NAMED | {"data_type": _TRITON_KINDS, "dims": _DIMS})),
            "instance_group": listed(member_of(_NAMED | {"kind": {"enum": ["KIND_CPU", "KIND_GPU"]}, "count": _COUNT})),
            "dynamic_batching": member_of({"max_queue_delay_microseconds": _COUNT}),
        },
        description="The fields of Triton's ModelConfig that have a meaning here.",
    ),
    "V2Statistics": member_of({"model_stats": listed(ref("V2ModelStatistics"))}),
    "V2ModelStatistics": member_of(
        _NAMED
        | {
            "version": _TEXT,
            "last_inference": _COUNT | {"description": "Milliseconds since 1970; 0 if there was none."},
            "inference_count": _COUNT | {"description": "Samples that were answered."},
            "execution_count": _COUNT | {"description": "Runs of the model."},
            "inference_stats": member_of({stage: ref("V2Duration") for stage in _STAGES}),
            "batch_stats": listed(member_of({"batch_size": _COUNT, "compute_infer": ref("V2Duration")})),
        }
    ),
    "V2Duration": member_of({"count": _COUNT, "ns": _COUNT}, description="Cumulative."),
    "V2Inference": member_of(
        {"model_name": _TEXT, "model_version": _TEXT, "id": _TEXT, "outputs": listed(ref("V2Output"))},
        "id",
        description="The requested outputs; id only if the request had one.",
    ),
    "V2Output": member_of(
        _NAMED
        | {
            "datatype": {"enum": ["FP32", "BYTES"], "description": "BYTES with the classification extension."},
            "shape": listed(_COUNT),
            "data": listed({"type": ["number", "string"]}, "Row by row; BYTES are value:index:label."),
            "parameters": member_of({"binary_data_size": _COUNT}),
        },
        *("data", "parameters"),
        oneOf=[{"required": ["data"]}, {"required": ["parameters"]}],
        description="Data are here, or, if they were asked for in binary, after the JSON.",
    ),
}
"""By name."""
