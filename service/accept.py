"""An `Accept` header and the types that can be written → the one to write (RFC 9110, section 12.5.1)."""

from collections.abc import Sequence

_MAX_RANGES = 1024


def choose(accept: bytes, offered: Sequence[str]) -> str | None:
    """Chooses a media type.

    Args:
        accept: The header's value; empty accepts anything.
        offered: Media types in the server's order of preference.

    Returns:
        The offered type with the highest quality, the first of equals; None if all are excluded.
    """
    if not accept.strip():
        return offered[0]
    ranges = [_range(part) for part in accept.decode("latin-1").lower().split(",")[:_MAX_RANGES] if part.strip()]
    best, best_quality = None, 0.0
    for media_type in offered:
        quality = _quality(media_type, ranges)
        if quality > best_quality:
            best, best_quality = media_type, quality
    return best


def _range(part: str) -> tuple[str, float]:
    """Splits `type/subtype;q=0.5`; a quality that is no number excludes the range."""
    media_range, *parameters = (piece.strip() for piece in part.split(";"))
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key.strip() == "q":
            try:
                return media_range, min(1.0, max(0.0, float(value)))
            except ValueError:
                return media_range, 0.0
    return media_range, 1.0


def _quality(media_type: str, ranges: Sequence[tuple[str, float]]) -> float:
    """Finds the quality of a type: the most specific range that matches decides."""
    for candidate in (media_type, media_type.partition("/")[0] + "/*", "*/*"):
        matching = [quality for media_range, quality in ranges if media_range == candidate]
        if matching:
            return max(matching)
    return 0.0
