"""Overload, deadlines, leavers and faults: each has its status, frees what it held, and is counted."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from service.batch import Outputs, UInt8Array
from service.errors import InferenceFailed
from tests.conftest import NewClient, TestClient, metric, service_of
from tests.pictures import encode, pixels, png

PNG = {"Content-Type": "image/png"}
MODEL = "cifar10-shallow"


class Held:
    """Holds a service's default model: its runs wait until `open` is set."""

    def __init__(self, client: TestClient) -> None:
        self.open = threading.Event()
        self.entered = threading.Event()
        batcher = service_of(client).registry.get(None).batcher
        self._run = batcher._run
        batcher._run = self

    def __call__(self, batch: UInt8Array, wants: frozenset[str]) -> Outputs:
        self.entered.set()
        assert self.open.wait(20)
        return self._run(batch, wants)


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(16) as pool:
        yield pool


def post(client: TestClient, count: int = 1, path: str = "/features") -> Any:
    return client.post(path, files=[("images", png(n)) for n in range(count)])


def queued(client: TestClient) -> float:
    """Counts the images that wait for a run; -1 while some of those admitted are still being decoded."""
    decoding = service_of(client).registry.get(None).batcher._backlog.reserved
    return -1 if decoding else metric(client, "sca_queue_images", model=MODEL)


def until_waiting(client: TestClient, images: int) -> None:
    for _ in range(2000):
        if queued(client) == images:
            return
        threading.Event().wait(0.005)
    raise AssertionError(metric(client, "sca_queue_images", model=MODEL))


def test_a_full_queue_answers_429_at_once_and_recovers(new_client: NewClient, threads: ThreadPoolExecutor) -> None:
    client = new_client(queue_images=3)
    held = Held(client)
    running = threads.submit(post, client)
    assert held.entered.wait(10)
    waiting = threads.submit(post, client, 2)
    until_waiting(client, 2)
    refused = post(client, 2)
    assert refused.status_code == 429 and refused.headers["retry-after"] == "1"
    assert (refused.json()["limit"], refused.json()["actual"]) == (3, 4)
    last = threads.submit(post, client, 1)
    until_waiting(client, 3)
    early = post(client)
    assert early.status_code == 429
    held.open.set()
    assert [task.result().status_code for task in (running, waiting, last)] == [200] * 3
    assert post(client, 3).status_code == 200
    assert post(client, 4).status_code == 429
    assert metric(client, "sca_rejected_total", reason="queue_full") == 3
    assert metric(client, "sca_images_total", model=MODEL, outcome="rejected") == 6
    assert metric(client, "sca_queue_images", model=MODEL) == 0
    assert metric(client, "sca_queue_limit_images", model=MODEL) == 3
    assert metric(client, "sca_inflight_images") == 0


def test_requests_that_wait_together_are_computed_together(new_client: NewClient, threads: ThreadPoolExecutor) -> None:
    client = new_client()
    alone = [client.post("/features?format=npy", content=png(n), headers=PNG).content for n in range(8)]
    before = metric(client, "sca_batch_images_count", model=MODEL)
    held = Held(client)
    running = threads.submit(post, client)
    assert held.entered.wait(10)
    tasks = [threads.submit(client.post, "/features?format=npy", content=png(n), headers=PNG) for n in range(8)]
    until_waiting(client, 8)
    held.open.set()
    assert running.result().status_code == 200
    for task, expected in zip(tasks, alone, strict=True):
        rows, wanted = (np.frombuffer(data[-288 * 4 :], "<f4") for data in (task.result().content, expected))
        np.testing.assert_allclose(rows, wanted, rtol=1e-4, atol=1e-6)
    assert metric(client, "sca_batch_images_count", model=MODEL) == before + 2


def test_a_bad_image_in_a_crowd_harms_nobody(new_client: NewClient, threads: ThreadPoolExecutor) -> None:
    client = new_client()

    def crowd(with_bad: bool) -> tuple[list[bytes], int]:
        held = Held(client)
        running = threads.submit(post, client)
        assert held.entered.wait(10)
        tasks = []
        # One after the other, so that both crowds make the same batch in the same order.
        for n in range(6):
            tasks.append(threads.submit(client.post, "/features?format=octet-stream", content=png(n), headers=PNG))
            until_waiting(client, n + 1)
        bad = client.post("/features", content=png(9)[:-20], headers=PNG).status_code if with_bad else 0
        held.open.set()
        running.result()
        return [task.result().content for task in tasks], bad

    without, _ = crowd(False)
    with_bad, status = crowd(True)
    assert status == 422
    assert with_bad == without


def test_the_deadline_passes_in_the_queue(new_client: NewClient, threads: ThreadPoolExecutor) -> None:
    client = new_client(request_timeout_s=0.3)
    held = Held(client)
    late = threads.submit(post, client, 2)
    assert held.entered.wait(10)
    answers = [task.result() for task in [late, threads.submit(post, client)]]
    for answer in answers:
        assert answer.status_code == 504
        assert answer.json()["limit"] == 0.3
        assert answer.headers["server-timing"].startswith("decode;dur=")
    held.open.set()
    assert metric(client, "sca_images_total", model=MODEL, outcome="timeout") == 3
    until_waiting(client, 0)
    assert metric(client, "sca_inflight_images") == 0


def test_a_failing_runtime_is_503_and_a_bug_is_500_without_its_cause(new_client: NewClient) -> None:
    client = new_client()
    batcher = service_of(client).registry.get(None).batcher
    works = batcher._run
    faults: list[tuple[Exception, int]] = [
        (InferenceFailed("The model's runtime failed on this batch; try again later."), 503),
        (RuntimeError("secret cause"), 500),
        (MemoryError(), 500),
    ]
    for fault, status in faults:

        def run(batch: UInt8Array, wants: frozenset[str], fault: Exception = fault) -> Outputs:
            raise fault

        batcher._run = run
        answer = post(client, 2)
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers.get("retry-after") == ("1" if status == 503 else None)
        assert "secret" not in answer.text
    batcher._run = works
    assert post(client).status_code == 200
    assert client.get("/health/live").status_code == 200
    assert metric(client, "sca_inflight_images") == 0


def test_a_bug_in_decoding_is_500_with_a_fixed_sentence(new_client: NewClient, monkeypatch: pytest.MonkeyPatch) -> None:
    client = new_client()

    def fail(*_: object) -> None:
        raise MemoryError("secret cause")

    monkeypatch.setattr("service.decoding.decode", fail)
    answer = post(client)
    assert answer.status_code == 500 and "secret" not in answer.text
    assert answer.json()["request_id"] == answer.headers["x-request-id"]
    monkeypatch.undo()
    assert post(client).status_code == 200


async def call(client: TestClient, body: bytes, leave: "asyncio.Event", then: list[dict[str, Any]]) -> None:
    """Calls the app as a server does, with a client that leaves when told."""
    sent = False

    async def receive() -> dict[str, Any]:
        nonlocal sent
        if not sent:
            sent = True
            return {"type": "http.request", "body": body, "more_body": False}
        await leave.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        then.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/features",
        "raw_path": b"/features",
        "query_string": b"",
        "root_path": "",
        "headers": [(b"content-type", b"image/png")],
        "client": None,
        "server": None,
    }
    await client.app(scope, receive, send)


def test_who_leaves_while_queued_is_dropped_and_counted(new_client: NewClient, threads: ThreadPoolExecutor) -> None:
    client = new_client()
    held = Held(client)
    running = threads.submit(post, client)
    assert held.entered.wait(10)

    async def scenario() -> None:
        leave, messages = asyncio.Event(), []  # type: ignore[var-annotated]  # ASGI messages
        task = asyncio.create_task(call(client, encode(pixels(), "PNG"), leave, messages))
        while queued(client) != 1:
            await asyncio.sleep(0.005)
        leave.set()
        await asyncio.wait_for(task, 10)

    asyncio.run(scenario())
    assert metric(client, "sca_queue_images", model=MODEL) == 0
    held.open.set()
    assert running.result().status_code == 200
    assert metric(client, "sca_client_disconnects_total", stage="queue") == 1
    assert metric(client, "sca_images_total", model=MODEL, outcome="cancelled") == 1
    assert metric(client, "sca_batch_images_sum", model=MODEL) == 1
    assert metric(client, "sca_http_requests_total", route="/features", method="POST", code="499") == 1
    assert metric(client, "sca_inflight_images") == 0
