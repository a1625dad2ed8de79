"""The door for programs that speak to Amazon SES (API v2): /v2/email, with SES's names, signatures and errors.

It is an application of its own within the tenants' door: its contract is Amazon's, so none of it stands in ours. Behind
it a message is accepted as everywhere else.
"""

from fastapi import FastAPI

from control_plane.rest.access import permissions_of
from control_plane.rest.limited_requests import LimitsRequests
from control_plane.rest.parts import Parts
from control_plane.rest.ses import sending
from control_plane.rest.ses.errors import HANDLERS, ses_answer

PREFIX = "/v2/email"


def make_ses_app(parts: Parts) -> FastAPI:
    """Return the application, to be mounted at `PREFIX`; raise `RouteWithoutPermission` as the tenants' door does."""
    permissions_of([sending.router])
    app = FastAPI(openapi_url=None, exception_handlers=HANDLERS)
    app.state.parts = parts
    app.add_middleware(LimitsRequests, limiter=parts.limiter, prefix=PREFIX, refuse=ses_answer)
    app.include_router(sending.router)
    return app
