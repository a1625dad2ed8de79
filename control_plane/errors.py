"""Errors that a caller can cause or must know of, each with its HTTP status and its gRPC code.

Raise these anywhere; the doors render them: `rest/problems.py` as RFC 9457, `hub/errors.py` as a gRPC status. The
class docstring is the problem's title; the message is its detail and says how to mend it. Never put a secret or
another tenant's data in a message.
"""

from typing import ClassVar


class PenguinError(Exception):
    """Something went wrong."""

    #: Last part of the problem's `type` URI; stable, part of the contract.
    slug: ClassVar[str] = "internal"
    http_status: ClassVar[int] = 500
    #: Name of a member of `grpc.StatusCode`.
    grpc_code: ClassVar[str] = "INTERNAL"

    @property
    def title(self) -> str:
        """The class docstring's first line, without its full stop."""
        return (type(self).__doc__ or "").strip().splitlines()[0].rstrip(".")

    @property
    def detail(self) -> str:
        """One or two sentences for the caller."""
        return str(self)


class InvalidInput(PenguinError):
    """The request is not valid."""

    slug = "invalid-input"
    http_status = 422
    grpc_code = "INVALID_ARGUMENT"

    def __init__(self, detail: str, field: str | None = None) -> None:
        super().__init__(detail)
        #: JSON pointer of the part that is wrong, if one part is.
        self.field = field


class Unauthenticated(PenguinError):
    """The caller is not known."""

    slug = "unauthenticated"
    http_status = 401
    grpc_code = "UNAUTHENTICATED"


class Forbidden(PenguinError):
    """The caller may not do this."""

    slug = "forbidden"
    http_status = 403
    grpc_code = "PERMISSION_DENIED"


class NotFound(PenguinError):
    """There is no such thing."""

    slug = "not-found"
    http_status = 404
    grpc_code = "NOT_FOUND"


class Conflict(PenguinError):
    """The request does not fit the present state."""

    slug = "conflict"
    http_status = 409
    grpc_code = "FAILED_PRECONDITION"


class IdempotencyKeyReused(Conflict):
    """The idempotency key was used for another request."""

    slug = "idempotency-key-reused"
    http_status = 422


class AnswerShownOnce(Conflict):
    """The answer showed a secret and is not given again."""

    slug = "answer-shown-once"


class RequestInFlight(Conflict):
    """The same request is being worked on."""

    slug = "request-in-flight"
    #: Seconds.
    retry_after = 1


class PreconditionFailed(Conflict):
    """The thing is not as the caller has seen it."""

    slug = "precondition-failed"
    http_status = 412


class PlanLimitReached(Forbidden):
    """The plan allows no more."""

    slug = "plan-limit-reached"


class DomainInUse(Conflict):
    """The domain is in use and cannot be added."""

    slug = "domain-in-use"


class PublicSuffix(InvalidInput):
    """Names under this domain belong to many; it cannot be anybody's sending domain."""

    slug = "public-suffix"


class InvalidCursor(InvalidInput):
    """The cursor leads nowhere in this list."""

    slug = "invalid-cursor"
    http_status = 400


class UnclearOrigin(InvalidInput):
    """Who the request comes from cannot be told."""

    slug = "unclear-origin"
    http_status = 400


class TooLarge(PenguinError):
    """The request is too large."""

    slug = "too-large"
    http_status = 413
    grpc_code = "OUT_OF_RANGE"


class Unavailable(PenguinError):
    """A part this needs is away; try again."""

    slug = "unavailable"
    http_status = 503
    grpc_code = "UNAVAILABLE"

    def __init__(self, detail: str, retry_after: int = 5) -> None:
        super().__init__(detail)
        #: Seconds.
        self.retry_after = retry_after


class TooManyRequests(PenguinError):
    """There were too many requests."""

    slug = "too-many-requests"
    http_status = 429
    grpc_code = "RESOURCE_EXHAUSTED"

    def __init__(self, detail: str, retry_after: int) -> None:
        super().__init__(detail)
        #: Seconds.
        self.retry_after = retry_after
