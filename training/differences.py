"""Two sets of settings in, what differs between them out, short enough for a line."""

from collections.abc import Iterator, Mapping
from typing import Any

MOST = 4
"""Differences that are told one by one."""
LENGTH = 30
"""Characters of a value, at most."""


def told(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """`seed 0 -> 1, layer1.maps 128 -> 16`, of settings as JSON types; the images, of which there is a digest, last."""
    found = list(_differences("", {**old, "images_sha256": None}, {**new, "images_sha256": None}))
    if old.get("images_sha256") != new.get("images_sha256"):
        found.append("other images")
    more = [f"{len(found) - MOST} more"] if len(found) > MOST else []
    return ", ".join(found[:MOST] + more)


def _differences(name: str, old: Any, new: Any) -> Iterator[str]:
    if old == new:
        return
    if isinstance(old, dict) and isinstance(new, dict):
        for key in [*old, *(key for key in new if key not in old)]:
            yield from _differences(f"{name}.{key}".lstrip("."), old.get(key), new.get(key))
    elif name == "layers" and len(old) == len(new):
        for index, pair in enumerate(zip(old, new, strict=True), 1):
            yield from _differences(f"layer{index}", *pair)
    elif name == "layers":
        yield f"layers {len(old)} -> {len(new)}"
    else:
        yield f"{name} {_short(old)} -> {_short(new)}"


def _short(value: Any) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= LENGTH else text[: LENGTH - 1] + "…"
