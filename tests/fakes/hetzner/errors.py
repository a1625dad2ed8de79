"""Errors in the shape of the published API: a status, a code, words, and details whose shape the code decides."""

from typing import Any

STATUS = {
    "json_error": 400,
    "unauthorized": 401,
    "token_readonly": 401,
    "forbidden": 403,
    "maintenance": 403,
    "resource_limit_exceeded": 403,
    "not_found": 404,
    "method_not_allowed": 405,
    "uniqueness_error": 409,
    "conflict": 409,
    "deprecated_api_endpoint": 410,
    "resource_unavailable": 412,
    "placement_error": 412,
    "invalid_input": 422,
    "service_error": 422,
    "unsupported_error": 422,
    "must_be_unassigned": 422,
    "primary_ip_already_assigned": 422,
    "primary_ip_not_assigned": 422,
    "server_not_stopped": 422,
    "locked": 423,
    "protected": 423,
    "rate_limit_exceeded": 429,
    "server_error": 500,
    "bad_gateway": 502,
    "unavailable": 503,
    "timeout": 504,
}


class ApiError(Exception):
    """What a request is answered with instead of what it asked for."""

    def __init__(self, code: str, message: str | None = None, details: dict[str, Any] | None = None) -> None:
        super().__init__(code)
        self.code = code
        self.status = STATUS[code]
        self.body = {"error": {"code": code, "message": message or code.replace("_", " "), "details": details}}


def not_found(what: str, number: object) -> ApiError:
    return ApiError("not_found", f"{what} with ID '{number}' not found")


def invalid(field: str, *messages: str) -> ApiError:
    fields = [{"name": field, "messages": list(messages)}]
    return ApiError("invalid_input", f"invalid input in field '{field}': {', '.join(messages)}", {"fields": fields})


def not_unique(what: str) -> ApiError:
    return ApiError("uniqueness_error", f"{what} name is already used", {"fields": [{"name": "name"}]})
