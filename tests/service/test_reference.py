"""The page at /docs: complete, escaped, and with nothing from another host."""

import re
from html.parser import HTMLParser
from typing import Any

from service.reference import render
from tests.conftest import TestClient


class Page(HTMLParser):
    """Collects the tags and the text of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_every_operation_parameter_and_status_is_on_the_page(client: TestClient) -> None:
    document: dict[str, Any] = client.get("/openapi.json").json()
    page = Page(client.get("/docs").text)
    for path, methods in document["paths"].items():
        assert path in page.text
        for operation in methods.values():
            assert operation["description"].split("\n")[0] in page.text
            for parameter in operation.get("parameters", []):
                assert parameter["description"] in page.text
            for answer in operation["responses"].values():
                assert answer["description"] in page.text


def test_the_page_loads_nothing_from_elsewhere(client: TestClient) -> None:
    answer = client.get("/docs")
    page = Page(answer.text)
    assert not {tag for tag, _ in page.tags} & {"script", "link", "img", "iframe"}
    assert [attributes["href"] for tag, attributes in page.tags if tag == "a"] == ["openapi.json"]
    assert not re.search(r"https?://|@import|url\(", answer.text)


def test_texts_are_escaped() -> None:
    operation = {"description": "<b>x</b>", "responses": {"200": {"description": "<i>"}}}
    document = {"openapi": "3.1.0", "info": {"title": "<t>", "version": "1"}, "paths": {"/<p>": {"get": operation}}}
    html = render(document)
    assert "<b>x" not in html and "<i>" not in html and "<t>" not in html and "/<p>" not in html
    text = Page(html).text
    assert all(part in text for part in ("<b>x</b>", "<i>", "<t>", "/<p>"))
