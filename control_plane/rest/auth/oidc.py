"""Logging in at another's page (OpenID Connect): away, and back again."""

import hmac
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import RedirectResponse

from control_plane.identity.oidc import derived
from control_plane.people import oidc_log_in
from control_plane.people.challenges import GOOD_FOR
from control_plane.people.log_in import SecondStep
from control_plane.rest.access import anybody
from control_plane.rest.auth.bodies import Tokens, count_attempt_of_address, origin_of, people_of
from control_plane.rest.auth.log_in import SecondStepAsked

router = APIRouter(prefix="/auth/oidc", tags=["auth"])

_COOKIE = "penguin_log_in"
_COOKIE_PATH = "/api/v1/auth/oidc"

_Name = Annotated[str, Path(pattern="^[a-z0-9-]{1,30}$")]
_Said = Annotated[str, Query(max_length=4096)]


@router.get(
    "/{issuer}",
    status_code=HTTPStatus.SEE_OTHER,
    response_class=RedirectResponse,
    dependencies=[anybody()],
)
async def away(issuer: _Name, request: Request) -> RedirectResponse:
    """Go to an issuer's log-in page. Come back within five minutes, with the same browser."""
    people = people_of(request)
    people.issuers.named(issuer)
    await count_attempt_of_address(request, "issuer")
    secret, where = await oidc_log_in.begin(people, issuer)
    answer = RedirectResponse(where, HTTPStatus.SEE_OTHER, headers={"Cache-Control": "no-store"})
    answer.set_cookie(
        _COOKIE,
        secret,
        max_age=int(GOOD_FOR.total_seconds()),
        path=_COOKIE_PATH,
        secure=people.public_url.startswith("https://"),
        httponly=True,
        # It comes back by a link on the issuer's page.
        samesite="lax",
    )
    return answer


@router.get("/{issuer}/callback", dependencies=[anybody()])
async def back(
    issuer: _Name, request: Request, response: Response, code: _Said = "", state: _Said = ""
) -> Tokens | SecondStepAsked:
    """Come back from an issuer; somebody with a second factor is asked for it next."""
    people = people_of(request)
    told, secret = people.issuers.named(issuer), request.cookies.get(_COOKIE, "")
    await count_attempt_of_address(request, "issuer's answer")
    response.delete_cookie(_COOKIE, path=_COOKIE_PATH)
    if not (code and secret and hmac.compare_digest(derived(secret, told, "state").encode(), state.encode())):
        raise oidc_log_in.not_taken()
    outcome = await oidc_log_in.finish(people, issuer, code, secret, origin_of(request))
    if isinstance(outcome, SecondStep):
        response.headers["Cache-Control"] = "no-store"
        return SecondStepAsked(second_step_token=outcome.token, passkey=outcome.by_passkey)
    return await Tokens.of(people, outcome, response)
