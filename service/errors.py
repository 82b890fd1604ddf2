"""What can go wrong, as classes that only carry data: status, stable code, title; one handler makes problems of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class ImageFailure:
    """One image of a request that could not be used.

    Attributes:
        index: Position in the request, from 0.
        status: HTTP status that this failure deserves: 413, 415 or 422.
        code: Stable word for programs, such as `undecodable`.
        detail: Sentence for people.
        limit: The limit that was passed, where there is one (pixels).
        actual: What came instead (pixels).
    """

    index: int
    status: int
    code: str
    detail: str
    limit: int | None = None
    actual: int | None = None


class ServiceError(Exception):
    """Any answer that is not the one the client wanted."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal"
    title: ClassVar[str] = "Internal error"
    reason: ClassVar[str | None] = None
    """Its label in `sca_rejected_total`, if it counts as a refusal."""
    always: ClassVar[Mapping[str, str]] = {}
    """Response headers of every such error."""

    def __init__(
        self,
        detail: str,
        *,
        limit: float | None = None,
        actual: float | None = None,
        failures: Sequence[ImageFailure] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Keeps what the client is told.

        Args:
            detail: Sentence for the client, about this occurrence.
            limit: The limit that was passed, if one was.
            actual: What came instead, in the unit of `limit`.
            failures: The images at fault, if single ones are.
            headers: Extra response headers.
        """
        super().__init__(detail)
        self.detail = detail
        self.limit = limit
        self.actual = actual
        self.failures = tuple(failures)
        self.headers = {**self.always, **(headers or {})}


class Malformed(ServiceError):
    """The request itself is broken: no images, bad multipart, bad base64, bad query value."""

    status = 400
    code = "malformed"
    title = "Malformed request"


class Unauthorized(ServiceError):
    """An API key is configured and the request has none, or a wrong one."""

    status = 401
    code = "unauthorized"
    title = "API key missing or wrong"
    reason = "auth"


class NotFound(ServiceError):
    """No such route, model, layer or filter."""

    status = 404
    code = "not-found"
    title = "Not found"


class MethodNotAllowed(ServiceError):
    """The route exists, with another method."""

    status = 405
    code = "method-not-allowed"
    title = "Method not allowed"


class NotAcceptable(ServiceError):
    """None of the formats that the client accepts is one that the route can write."""

    status = 406
    code = "not-acceptable"
    title = "No such output format"


class UploadTimeout(ServiceError):
    """The body did not arrive in time."""

    status = 408
    code = "upload-timeout"
    title = "Upload too slow"


class TooLarge(ServiceError):
    """Too many bytes, pixels or images."""

    status = 413
    code = "too-large"
    title = "Over a limit"


class TooManyBytes(TooLarge):
    """The body is over the limit."""

    reason = "body"


class TooManyImages(TooLarge):
    """The request has more images than allowed."""

    reason = "images"


class TooManyPixels(TooLarge):
    """An image's header announces more pixels than allowed."""

    reason = "pixels"


class UnsupportedType(ServiceError):
    """Not an allowed request type, or not an allowed image type."""

    status = 415
    code = "unsupported-type"
    title = "Type not supported"


class Undecodable(ServiceError):
    """An allowed image type that does not decode whole."""

    status = 422
    code = "undecodable"
    title = "Image does not decode"


class QueueFull(ServiceError):
    """The queue cannot take these images now."""

    status = 429
    code = "queue-full"
    title = "Queue full"
    reason = "queue_full"
    always: ClassVar[Mapping[str, str]] = {"Retry-After": "1"}


class HeadersTooLarge(ServiceError):
    """The request line and headers are over their limit."""

    status = 431
    code = "headers-too-large"
    title = "Request headers too large"


class Internal(ServiceError):
    """A bug; the client gets a fixed sentence, the log holds the cause."""

    def __init__(self) -> None:
        """Says the fixed sentence."""
        super().__init__("The server failed to answer this request; its log holds the cause under the request id.")


class NotReady(ServiceError):
    """The model is not loaded, or not proven right, yet."""

    status = 503
    code = "not-ready"
    title = "Not ready"
    reason = "not_ready"
    always: ClassVar[Mapping[str, str]] = {"Retry-After": "1"}


class Draining(ServiceError):
    """The server is shutting down and takes no new work."""

    status = 503
    code = "draining"
    title = "Shutting down"
    reason = "draining"
    always: ClassVar[Mapping[str, str]] = {"Retry-After": "1", "Connection": "close"}

    def __init__(self) -> None:
        """Says the fixed sentence."""
        super().__init__("The server is shutting down.")


class Overloaded(ServiceError):
    """The server lacks something that this request needs; others may have it back soon."""

    status = 503
    code = "overloaded"
    title = "Overloaded"
    always: ClassVar[Mapping[str, str]] = {"Retry-After": "1"}


class NoMemory(Overloaded):
    """Bodies of requests take as much memory as they may."""

    reason = "memory"


class NoConnection(Overloaded):
    """There are as many connections as there may be files open."""

    reason = "connections"


class InferenceFailed(ServiceError):
    """The model's runtime failed on this batch, for want of memory or of a working device."""

    status = 503
    code = "inference-failed"
    title = "Model runtime failed"
    always: ClassVar[Mapping[str, str]] = {"Retry-After": "1"}


class DeadlinePassed(ServiceError):
    """The request was admitted, and its time ran out."""

    status = 504
    code = "deadline-passed"
    title = "Deadline passed"


class ClientGone(ServiceError):
    """The client left; nobody reads this answer. 499 appears only in metrics and logs."""

    status = 499
    code = "client-gone"
    title = "Client closed the request"
