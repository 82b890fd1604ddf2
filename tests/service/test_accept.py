"""`Accept` is read as RFC 9110 says."""

import pytest

from service.accept import choose

OFFERED = ("application/json", "application/x-npy", "application/octet-stream")


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", "application/json"),
        ("*/*", "application/json"),
        ("application/x-npy", "application/x-npy"),
        ("APPLICATION/X-NPY", "application/x-npy"),
        ("application/json;q=0.5, application/x-npy", "application/x-npy"),
        ("application/*;q=0.2, application/octet-stream;q=0.3", "application/octet-stream"),
        ("text/html, */*;q=0.1", "application/json"),
        ("application/json;q=0, */*", "application/x-npy"),
        ("application/x-npy ; q=0.9 , application/json ; q=0.8", "application/x-npy"),
        ("text/html;q=0.1, " * 100 + "application/x-npy", "application/x-npy"),
        ("text/html", None),
        ("application/json;q=0", None),
        ("application/json;q=high", None),
        (",,,;", None),
    ],
)
def test_the_best_offer_wins(accept: str, expected: str | None) -> None:
    assert choose(accept.encode(), OFFERED) == expected
