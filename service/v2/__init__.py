"""Open Inference Protocol v2 with the binary tensor extension, as Triton and KServe speak it over HTTP.

Sources: github.com/kserve/open-inference-protocol, `specification/protocol/inference_rest.md`, and
github.com/triton-inference-server/server, `docs/protocol/`.
"""
