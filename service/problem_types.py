"""Every kind of problem that a client can meet, for the documentation."""

from service import errors

ALL: tuple[type[errors.ServiceError], ...] = (
    errors.Malformed,
    errors.Unauthorized,
    errors.NotFound,
    errors.MethodNotAllowed,
    errors.NotAcceptable,
    errors.UploadTimeout,
    errors.TooLarge,
    errors.UnsupportedType,
    errors.Undecodable,
    errors.QueueFull,
    errors.HeadersTooLarge,
    errors.ServiceError,
    errors.NotReady,
    errors.Draining,
    errors.Overloaded,
    errors.InferenceFailed,
    errors.DeadlinePassed,
)
