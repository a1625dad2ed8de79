"""The door before every service: judges each call by the access policy, and renders whatever goes wrong.

SECURITY: the caller's identity is taken from the certificate that the TLS handshake verified, never from a message, and
is checked against the database on each call, since gRPC knows no revocation list. A fault of ours is logged with its
traceback and tells the caller nothing.
"""

import logging
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from grpc.aio import ServerInterceptor, ServicerContext

from control_plane.enrolment.identity import identity_of
from control_plane.errors import PenguinError, Unauthenticated
from control_plane.hub.access_policy import Callers, callers_of
from control_plane.hub.batches import Batches
from control_plane.hub.caller import CALLER, Caller
from control_plane.hub.errors import database_away, refuse
from db.notifications import DATABASE_AWAY
from db.undisturbed import undisturbed

_log = logging.getLogger(__name__)


class Door(ServerInterceptor):
    """Wraps the handler of each call."""

    def __init__(self, batches: Batches) -> None:
        self._batches = batches

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable["grpc.RpcMethodHandler[Any, Any] | None"]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> "grpc.RpcMethodHandler[Any, Any] | None":
        """Return the handler behind the door; gRPC's own answer for a method that does not exist."""
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None:
            return None
        if handler.stream_stream:
            return grpc.stream_stream_rpc_method_handler(
                self._guarded(method, handler.stream_stream),
                request_deserializer=handler.request_deserializer,
                response_serializer=handler.response_serializer,
            )
        if handler.unary_unary is None:
            raise TypeError(f"{method} is of a kind that the door does not guard")
        return grpc.unary_unary_rpc_method_handler(
            self._guarded(method, _to_its_end(handler.unary_unary)),
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )

    def _guarded(self, method: str, behaviour: Callable[..., Any]) -> Callable[..., Any]:
        """Guard a behaviour that answers one request, or that reads and writes by the context."""

        async def guarded(said: object, context: "ServicerContext[Any, Any]") -> object:
            try:
                await self._identify(method, context)
                return await behaviour(said, context)
            except Exception as error:  # noqa: BLE001 - the agents' door
                problem = _problem(method, error)
            return await refuse(context, problem)

        return guarded

    async def _identify(self, method: str, context: "ServicerContext[Any, Any]") -> None:
        if callers_of(method) is Callers.ANYONE:
            return
        certificates = list(context.auth_context().get("x509_pem_cert", ()))
        if len(certificates) != 1:
            raise Unauthenticated("the call came without a certificate")
        caller = Caller(*identity_of(certificates[0]))
        await self._batches.admissions.serve(caller)
        CALLER.set(caller)


def _to_its_end(behaviour: Callable[..., Any]) -> Callable[..., Any]:
    """Return the behaviour as one that ends also when its caller goes away."""
    return lambda request, context: undisturbed(behaviour(request, context))


def _problem(method: str, error: Exception) -> PenguinError:
    if isinstance(error, PenguinError):
        _log.info("%s refused: %s", method, error)
        return error
    if isinstance(error, DATABASE_AWAY):
        _log.warning("%s failed: the database is away (%s)", method, type(error).__name__)
        return database_away()
    _log.error("%s failed", method, exc_info=error)
    return PenguinError("something went wrong here; it is in our log")
