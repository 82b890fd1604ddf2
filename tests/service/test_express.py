"""A question that was asked before is answered without the framework, and just as it is with it."""

import base64
import threading
from typing import Any

import pytest

from service.questions import Known, Questions, question_of
from tests.conftest import NewClient, TestClient, metric
from tests.pictures import png

PNG = {"Content-Type": "image/png"}


class Closed:
    """Stands in for the framework's app and answers nothing."""

    def __init__(self, client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls = 0
        layer: Any = client.app.middleware_stack  # type: ignore[attr-defined]  # TestClient types its app as bare ASGI
        while not hasattr(layer, "_questions"):
            layer = layer._app
        self._app = layer._app
        monkeypatch.setattr(layer, "_app", self)

    async def __call__(self, *arguments: Any) -> None:
        self.calls += 1
        await self._app(*arguments)


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/features", {}),
        ("/features?format=npy", {}),
        ("/features?encoding=base64", {}),
        ("/features", {"Accept": "application/octet-stream"}),
        ("/features?on_error=skip", {}),
        ("/predict", {}),
        ("/predict?top_k=3&model=cifar10-shallow", {}),
    ],
)
def test_the_second_answer_equals_the_first(
    new_client: NewClient, monkeypatch: pytest.MonkeyPatch, path: str, headers: dict[str, str]
) -> None:
    client = new_client()
    framework = Closed(client, monkeypatch)
    first, second = (client.post(path, content=png(3), headers=PNG | headers) for _ in range(2))
    assert framework.calls == 1
    assert first.status_code == 200 and first.content == second.content
    own = {"x-request-id", "server-timing"}
    assert {k: v for k, v in first.headers.items() if k not in own} == {
        k: v for k, v in second.headers.items() if k not in own
    }
    route = path.partition("?")[0]
    assert metric(client, "sca_http_requests_total", route=route, method="POST", code="200") == 2


def test_what_the_framework_refuses_is_refused_again(new_client: NewClient) -> None:
    client = new_client()
    for _ in range(2):
        assert client.post("/predict?top_k=9", content=png(), headers=PNG).status_code == 400
        assert client.post("/predict?top_k=x", content=png(), headers=PNG).status_code == 400
        assert client.post("/features", content=png(), headers=PNG | {"Accept": "text/html"}).status_code == 406
        assert client.post("/features?model=nope", content=png(), headers=PNG).status_code == 404
        assert client.get("/features").status_code == 405


def test_errors_behind_a_known_question_are_the_same(new_client: NewClient) -> None:
    client = new_client()
    assert client.post("/features", content=png(), headers=PNG).status_code == 200
    for content, status in ((png()[:-9], 422), (b"", 400), (b"%PDF-1.7", 415)):
        answer = client.post("/features", content=content, headers=PNG)
        assert answer.status_code == status
        assert answer.json()["request_id"] == answer.headers["x-request-id"]
    compressed = client.post("/features", content=png(), headers=PNG | {"Content-Encoding": "gzip"})
    assert compressed.status_code == 415


def test_an_empty_header_before_another_decides_nothing_for_others(new_client: NewClient) -> None:
    client = new_client()
    body = b'{"images": ["' + base64.b64encode(png(3)) + b'"]}'
    json = {"Content-Type": "application/json"}
    odd = [("Content-Type", ""), ("Content-Type", "application/json")]
    assert client.post("/predict", content=b"", headers=odd).status_code == 400
    assert client.post("/predict", content=body, headers=json).status_code == 200
    odd = [("Content-Type", "image/png"), ("Accept", ""), ("Accept", "application/x-npy")]
    client.post("/features", content=png(3), headers=odd)
    answer = client.post("/features", content=png(3), headers=PNG | {"Accept": "application/x-npy"})
    assert answer.headers["content-type"] == "application/x-npy"


def test_the_key_is_asked_for_each_time(new_client: NewClient) -> None:
    client = new_client(api_keys="alpha")
    headers = PNG | {"X-API-Key": "alpha"}
    assert [client.post("/predict", content=png(), headers=headers).status_code for _ in range(2)] == [200, 200]
    assert client.post("/predict", content=png(), headers=PNG).status_code == 401


def scope(**changes: Any) -> dict[str, Any]:
    plain = {"type": "http", "path": "/predict", "method": "POST", "query_string": b"", "headers": []}
    return plain | changes


@pytest.mark.parametrize(
    "changes",
    [
        {"type": "lifespan"},
        {"method": "GET"},
        {"path": "/filters"},
        {"headers": [(b"content-type", b"multipart/form-data; boundary=x")]},
        {"headers": [(b"content-encoding", b"gzip")]},
        {"headers": [(b"accept", b"x" * 600)]},
        {"headers": [(b"accept", b""), (b"accept", b"application/json")]},
        {"headers": [(b"content-type", b""), (b"content-type", b"image/png")]},
        {"query_string": b"x" * 600},
    ],
)
def test_what_is_not_remembered(changes: dict[str, Any]) -> None:
    assert question_of(scope()) is not None
    assert question_of(scope(**changes)) is None


def test_everything_that_decides_is_in_the_question() -> None:
    others = [
        scope(path="/features"),
        scope(query_string=b"top_k=2"),
        scope(headers=[(b"accept", b"application/json")]),
        scope(headers=[(b"content-type", b"image/png")]),
    ]
    assert len({question_of(one) for one in (scope(), *others)}) == 5


def test_the_memory_is_bounded() -> None:
    questions, known = Questions(), Known(None, None, None)  # type: ignore[arg-type]  # it looks at nothing
    asked = [question_of(scope(query_string=b"n=%d" % n)) for n in range(1000)]
    for question in asked:
        assert question is not None
        questions.remember(question, known)
    assert sum(questions.get(question) is known for question in asked) == 256
    assert questions.get(asked[-1]) is known and questions.get(asked[0]) is None


def test_many_threads_ask_at_a_time(new_client: NewClient) -> None:
    client = new_client()
    wanted = client.post("/features?format=octet-stream", content=png(1), headers=PNG).content
    wrong: list[int] = []

    def work() -> None:
        for _ in range(10):
            answer = client.post("/features?format=octet-stream", content=png(1), headers=PNG)
            if len(answer.content) != len(wanted):
                wrong.append(answer.status_code)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert metric(client, "sca_inflight_images") == 0
