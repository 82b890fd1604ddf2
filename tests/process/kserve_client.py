"""KServe's own client against a running server: answers must equal `/features` to the bit.

KServe pins other versions of libraries than training does, so it has an environment of its own:

    python -m venv .venv-kserve && .venv-kserve/bin/pip install kserve
    .venv-kserve/bin/python tests/process/kserve_client.py http://127.0.0.1:8000 examples/frog.png
"""

import asyncio
import base64
import io
import sys
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from kserve import InferenceRESTClient, InferInput, InferRequest
from kserve.inference_client import RESTConfig
from kserve.protocol.infer_type import RequestedOutput

MODEL = "cifar10-shallow"


def inputs(files: list[bytes], pixels: np.ndarray[Any, np.dtype[np.uint8]]) -> dict[str, InferInput]:
    """Writes the same images in every way that the client knows."""
    given = {}
    for binary in (False, True):
        tensor = InferInput("images", list(pixels.shape), "UINT8")
        tensor.set_data_from_numpy(pixels, binary_data=binary)
        given[f"pixels, {'binary' if binary else 'JSON'}"] = tensor
        elements = files if binary else [base64.b64encode(data) for data in files]
        tensor = InferInput("files", [len(files)], "BYTES")
        tensor.set_data_from_numpy(np.array(elements, object), binary_data=binary)
        given[f"files, {'binary' if binary else 'JSON'}"] = tensor
    return given


async def check(url: str, data: bytes) -> None:
    """Raises if an answer differs, or an error is not the protocol's."""
    plain = httpx.post(f"{url}/features?model={MODEL}&format=octet-stream", content=data).content
    expected = np.frombuffer(plain, "<f4")
    shape = httpx.get(f"{url}/v2/models/{MODEL}").json()["inputs"][0]["shape"][1:]
    blank = np.zeros((1, *shape), np.uint8)
    headers = {"Content-Type": "application/x-npy", "Accept": "application/octet-stream"}
    of_blank = np.frombuffer(httpx.post(f"{url}/features", content=npy(blank), headers=headers).content, "<f4")
    async with InferenceRESTClient(RESTConfig(protocol="v2")) as client:
        assert await client.is_server_live(url) and await client.is_server_ready(url)
        assert await client.is_model_ready(url, MODEL) and not await client.is_model_ready(url, "none")
        for name, tensor in inputs([data], blank).items():
            for binary in (False, True):
                outputs = [RequestedOutput("features", {"binary_data": binary})]
                request = InferRequest(MODEL, [tensor], request_id="7", request_outputs=outputs)
                answer = await client.infer(url, request, model_name=MODEL)
                rows = np.asarray(answer.outputs[0].data, np.float32)
                wanted = expected if name.startswith("files") else of_blank
                assert (answer.id, answer.model_name) == ("7", MODEL)
                assert np.array_equal(rows.view(np.uint32), wanted.view(np.uint32)), name
                print(f"{name} in, {'binary' if binary else 'JSON'} out: {rows.size} equal numbers")
        try:
            await client.infer(url, InferRequest("none", [tensor]), model_name="none")
        except httpx.HTTPStatusError as error:
            assert error.response.status_code == 404 and "There is no model 'none'" in str(error)
        else:
            raise AssertionError("an unknown model was answered")


def npy(pixels: np.ndarray[Any, np.dtype[np.uint8]]) -> bytes:
    """Writes pixels as `/features` takes them."""
    stream = io.BytesIO()
    np.save(stream, pixels)
    return stream.getvalue()


if __name__ == "__main__":
    asyncio.run(check(sys.argv[1], Path(sys.argv[2]).read_bytes()))
