"""What goes wrong on the fast lane is told and counted as on the long way: a full queue, a deadline, a lost client."""

from pathlib import Path

import pytest

from service.errors import InferenceFailed
from tests.pictures import png
from tests.service.serving import MODEL, Held, Serving, client, run, until


def test_a_full_queue_refuses_at_once(models_dir: Path) -> None:
    async def scenario(running: Serving) -> None:
        async with client(running) as busy, client(running) as waiting, client(running) as refused:
            await busy.ask("/predict", png())
            held = Held(running)
            busy.post("/predict", png())
            await until(lambda: running.taken == [True])
            await until(lambda: running.sample("sca_queue_images", model=MODEL) == 0)
            waiting.post("/predict", png())
            await until(lambda: running.sample("sca_queue_images", model=MODEL) == 1)
            assert len(running.server.server_state.tasks) == 2
            answer = await refused.ask("/predict", png(), X_Request_Id="me")
            assert running.taken == [True] * 3
            assert (answer.status, answer.headers["retry-after"]) == (429, "1")
            assert answer.headers["content-type"] == "application/problem+json"
            assert b'"request_id":"me"' in answer.body and answer.headers["x-request-id"] == "me"
            assert running.sample("sca_rejected_total", reason="queue_full") == 1
            assert running.sample("sca_http_requests_total", route="/predict", method="POST", code="429") == 1
            held.open.set()
            assert [(await busy.answer()).status, (await waiting.answer()).status] == [200, 200]
            assert (await refused.ask("/predict", png())).status == 200

    run(models_dir, scenario, queue_images=1)


def test_the_deadline_passes_in_the_queue(models_dir: Path) -> None:
    async def scenario(running: Serving) -> None:
        async with client(running) as one:
            await one.ask("/predict", png())
            held = Held(running)
            answer = await one.ask("/predict", png(), X_Request_Id="late")
            assert running.taken == [True]
            assert answer.status == 504 and b'"limit":0.3' in answer.body
            assert answer.headers["x-request-id"] == "late"
            held.open.set()
            assert (await one.ask("/predict", png())).status == 200
        assert running.sample("sca_images_total", model=MODEL, outcome="timeout") == 1
        assert running.sample("sca_http_requests_total", route="/predict", method="POST", code="504") == 1

    run(models_dir, scenario, request_timeout_s=0.3)


def test_who_leaves_while_queued_is_dropped_and_counted(models_dir: Path) -> None:
    async def scenario(running: Serving) -> None:
        async with client(running) as busy:
            await busy.ask("/predict", png())
            held = Held(running)
            busy.post("/predict", png())
            await until(lambda: running.taken == [True])
            await until(lambda: running.sample("sca_queue_images", model=MODEL) == 0)
            async with client(running) as leaver:
                leaver.post("/predict", png())
                await until(lambda: running.sample("sca_queue_images", model=MODEL) == 1)
            await until(lambda: running.sample("sca_queue_images", model=MODEL) == 0)
            held.open.set()
            assert (await busy.answer()).status == 200
            await until(lambda: running.sample("sca_client_disconnects_total", stage="queue") == 1)
        assert running.taken == [True, True]
        assert running.sample("sca_images_total", model=MODEL, outcome="cancelled") == 1
        assert running.sample("sca_http_requests_total", route="/predict", method="POST", code="499") == 1

    run(models_dir, scenario)


@pytest.mark.parametrize(
    ("fault", "status"), [(InferenceFailed("The runtime failed; try again."), 503), (RuntimeError("secret cause"), 500)]
)
def test_a_run_that_fails_is_answered_and_counted(models_dir: Path, fault: Exception, status: int) -> None:
    async def scenario(running: Serving) -> None:
        async with client(running) as one:
            await one.ask("/predict", png())
            Held(running, fault).open.set()
            answer = await one.ask("/predict", png())
        assert running.taken == [True]
        assert answer.status == status and b"secret" not in answer.body
        assert running.sample("sca_http_requests_total", route="/predict", method="POST", code=str(status)) == 1
        assert running.service.registry.get(None).statistics.document()["inference_stats"]["fail"]["count"] == 1

    run(models_dir, scenario)


def test_a_bug_in_writing_is_500(models_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(running: Serving) -> None:
        async with client(running) as one:
            await one.ask("/predict", png())

            def fail(*_: object) -> None:
                raise KeyError("secret cause")

            monkeypatch.setattr("service.ride.write", fail)
            answer = await one.ask("/predict", png())
            assert answer.status == 500 and b"secret" not in answer.body

    run(models_dir, scenario)


def test_a_server_that_ends_gives_up_what_is_left(models_dir: Path) -> None:
    async def scenario(running: Serving) -> None:
        async with client(running) as one:
            await one.ask("/predict", png())
            held = Held(running)
            one.post("/predict", png())
            await until(lambda: running.taken == [True])
            await until(lambda: len(running.server.server_state.tasks) == 1)
            next(iter(running.server.server_state.tasks)).cancel()
            assert (await one.answer()).status == 503
            held.open.set()

    run(models_dir, scenario)
