"""Files are decoded in their order, and no longer than somebody waits for them."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from service import decoding, images
from service.decoding import decode_all
from service.images import ImageRule
from tests.pictures import pixels, png

RULE = ImageRule(
    height=12,
    width=12,
    color_mode="RGB",
    alpha_background="white",
    resize_mode="stretch",
    resize_filter="bicubic",
    resize_background=0,
)


def test_order_is_kept_across_threads() -> None:
    async def main() -> None:
        with ThreadPoolExecutor(2) as pool:
            found, failures = await decode_all([png(seed) for seed in range(20)], RULE, 10_000, pool, 2)
        assert list(found) == list(range(20)) and not failures
        for seed, image in found.items():
            np.testing.assert_array_equal(image, pixels(seed))

    asyncio.run(main())


def test_what_nobody_waits_for_any_more_is_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on = threading.Semaphore(0), threading.Event()
    decoded = 0
    plain = images.decode

    def held(*given: Any) -> Any:
        nonlocal decoded
        decoded += 1
        begun.release()
        assert go_on.wait(10)
        return plain(*given)

    monkeypatch.setattr(decoding, "decode", held)

    async def main() -> None:
        with ThreadPoolExecutor(2) as pool:
            request = asyncio.create_task(decode_all([png(seed) for seed in range(40)], RULE, 10_000, pool, 2))
            for _ in range(2):
                await asyncio.to_thread(begun.acquire)
            request.cancel()
            with pytest.raises(asyncio.CancelledError):
                await request
            go_on.set()
        assert decoded == 2, "each of the two threads ends the file that it was at"

    asyncio.run(main())
