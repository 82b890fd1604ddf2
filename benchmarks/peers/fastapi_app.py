"""FastAPI by hand, as most people write it: one process, the work in its thread pool.

Best settings here: uvloop and httptools (uvicorn's own choice), a session with a thread a core, no batching; workers=2
with one-thread sessions were slower at one client and no faster at many.
"""

import asyncio

import orjson
import uvicorn
from fastapi import FastAPI, Request, Response

from benchmarks.peers.plain import CPUS, PORT, ROUTE, Plain, decode, prediction

app = FastAPI()
plain = Plain(CPUS)


@app.post(f"/{ROUTE}")
async def answer(request: Request) -> Response:
    """Features or prediction of the body, a PNG."""
    return await asyncio.get_running_loop().run_in_executor(None, _work, await request.body())


def _work(data: bytes) -> Response:
    row = plain.run(decode(data)[None])[0]
    if ROUTE == "features":
        return Response(row.tobytes(), media_type="application/octet-stream")
    return Response(orjson.dumps(prediction(row)), media_type="application/json")


if __name__ == "__main__":
    uvicorn.run(app, port=PORT, log_level="warning", access_log=False)
