"""Query parameters that nobody reads are refused: an answer without them would look like one with them."""

from typing import Any

import pytest

from tests.conftest import TestClient
from tests.pictures import png

PNG = {"Content-Type": "image/png"}
ROUTES = [("POST", "/features"), ("POST", "/predict"), ("GET", "/filters"), ("GET", "/filters/0")]


@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("topk=3", "There is no query parameter 'topk'; there are model, version, "),
        ("model=mnist-shallow&Model=x", "There is no query parameter 'Model'; "),
        ("x" * 200 + "=", f"There is no query parameter '{'x' * 100}'; "),
        ("model=mnist-shallow&model=cifar10-shallow", "The query parameter model is given 2 times."),
        ("=1", "There is no query parameter ''; "),
    ],
)
def test_an_unknown_or_repeated_one_names_itself(
    client: TestClient, method: str, path: str, query: str, says: str
) -> None:
    given: dict[str, Any] = {"content": png(), "headers": PNG} if method == "POST" else {}
    answer = client.request(method, f"{path}?{query}", **given)
    assert answer.status_code == 400 and answer.json()["detail"].startswith(says)
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.parametrize("query", ["", "model=cifar10-shallow", "model=cifar10-shallow&version=10", "&&"])
def test_those_that_there_are_may_be_given_once(client: TestClient, method: str, path: str, query: str) -> None:
    given: dict[str, Any] = {"content": png(), "headers": PNG} if method == "POST" else {}
    assert client.request(method, f"{path}?{query}", **given).status_code == 200


def test_the_names_are_those_of_the_document(client: TestClient) -> None:
    for method, path in ROUTES:
        documented = client.get("/openapi.json").json()["paths"][path.replace("/0", "/{index}")][method.lower()]
        names = [parameter["name"] for parameter in documented["parameters"] if parameter["in"] == "query"]
        given: dict[str, Any] = {"content": png(), "headers": PNG} if method == "POST" else {}
        detail = client.request(method, f"{path}?nope=1", **given).json()["detail"]
        assert detail.endswith(f"there are {', '.join(names)}.")
