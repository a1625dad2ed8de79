import datetime as dt
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from control_plane.clock import utc_now
from control_plane.identity.oidc import read_issuers
from control_plane.people.oidc_issuers import Issuers
from control_plane.settings import Settings
from tests.fakes.oidc import CLIENT_ID, CLIENT_SECRET, OidcIssuer, new_key, running_oidc_issuer
from tests.fakes.submission_server import SubmissionServer
from tests.integration.people.test_passkeys import with_passkey
from tests.integration.people.visitor import PASSWORD, Visitor
from tests.integration.rest import problem

ANNA = {"sub": "4711", "email": "Anna@Example.net", "email_verified": True, "name": "Anna\n of there"}


@pytest.fixture(scope="module")
def serving() -> Iterator[OidcIssuer]:
    with running_oidc_issuer() as running:
        yield running


@pytest.fixture
def issuer(serving: OidcIssuer) -> OidcIssuer:
    serving.signs_by, serving.algorithm, serving.claims, serving.person = None, "RS256", {}, dict(ANNA)
    return serving


@pytest.fixture
def people_settings(people_settings: Settings, issuer: OidcIssuer, tmp_path: Path) -> Settings:
    secret, file = tmp_path / "secret", tmp_path / "oidc.json"
    secret.write_text(CLIENT_SECRET + "\n")
    told = {"issuer": issuer.url, "client_id": CLIENT_ID, "client_secret_file": str(secret)}
    file.write_text(json.dumps([{"name": "one", **told}, {"name": "two", **told}]))
    return people_settings.model_copy(update={"oidc_file": file})


@pytest.fixture
def browser(visitor: Visitor) -> Visitor:
    """Somebody whose browser is at our address: its cookies are for that alone."""
    visitor.client.base_url = httpx.URL("https://mail.test/api/v1/")
    return visitor


async def sent_away(browser: Visitor, name: str = "one") -> str:
    """Begin, say yes at the issuer's; return where that sends the browser back to."""
    away = await browser.get(f"auth/oidc/{name}")
    assert away.status_code == 303, away.text
    cookie = away.headers["set-cookie"].lower()
    assert all(word in cookie for word in ("httponly", "secure", "samesite=lax", "path=/api/v1/auth/oidc"))
    async with httpx.AsyncClient(trust_env=False) as outside:
        return str((await outside.get(away.headers["location"])).headers["location"])


async def came_back(browser: Visitor) -> httpx.Response:
    answer = await browser.get(await sent_away(browser))
    if answer.status_code == 200 and "access_token" in answer.json():
        browser.bear(answer.json())
    return answer


async def test_somebody_new_becomes_a_person_with_a_tenant_and_is_known_again(browser: Visitor) -> None:
    assert (await came_back(browser)).status_code == 200
    me = (await browser.get("auth/me")).json()
    assert (me["email"], me["name"]) == ("anna@example.net", "Anna of there")
    assert [each["role"] for each in me["tenants"]] == ["owner"]
    assert (await came_back(browser)).status_code == 200
    assert (await browser.get("auth/me")).json()["id"] == me["id"]


async def test_a_person_is_known_by_the_verified_address_and_then_by_the_subject(
    anna: Visitor, browser: Visitor, issuer: OidcIssuer
) -> None:
    own = (await anna.get("auth/me")).json()["id"]
    assert (await came_back(browser)).status_code == 200
    assert (await browser.get("auth/me")).json()["id"] == own
    # The address there is another's by now; the subject is who it was.
    issuer.person["email"] = "other@example.net"
    assert (await came_back(browser)).status_code == 200
    assert (await browser.get("auth/me")).json()["id"] == own


@pytest.mark.parametrize("said", [False, None, "true", 1])
async def test_an_address_that_is_not_verified_is_nobodys(
    anna: Visitor, browser: Visitor, issuer: OidcIssuer, said: object
) -> None:
    issuer.claims = {"email_verified": said}
    problem(await came_back(browser), 401, "unauthenticated")


@pytest.mark.parametrize(
    "claims",
    [
        {"nonce": "another"},
        {"nonce": None},
        {"aud": "somebody-else"},
        {"aud": [CLIENT_ID, "somebody-else"]},
        {"azp": "somebody-else"},
        {"iss": "https://elsewhere.example"},
        {"exp": int(time.time()) - 3600},
        {"exp": "soon"},
        {"sub": None},
        {"email": "no address"},
        {"email": None},
    ],
    ids=str,
)
async def test_a_token_that_is_not_for_this_log_in_is_refused(
    browser: Visitor, issuer: OidcIssuer, claims: dict[str, object]
) -> None:
    issuer.claims = claims
    problem(await came_back(browser), 401, "unauthenticated")


async def test_a_token_that_the_issuer_has_not_signed_is_refused(browser: Visitor, issuer: OidcIssuer) -> None:
    issuer.signs_by = new_key()
    problem(await came_back(browser), 401, "unauthenticated")
    issuer.algorithm = "none"
    problem(await came_back(browser), 401, "unauthenticated")
    # By what we share, and not by a key of the issuer's.
    issuer.algorithm, issuer.signs_by = "HS256", CLIENT_SECRET * 2
    problem(await came_back(browser), 401, "unauthenticated")


async def test_an_answer_is_for_the_browser_that_began_and_good_once(browser: Visitor, bob: Visitor) -> None:
    bob.client.base_url = browser.client.base_url
    back = await sent_away(browser)
    problem(await bob.get(back), 401, "unauthenticated")
    await sent_away(bob)
    problem(await bob.get(back), 401, "unauthenticated")
    kept = dict(browser.client.cookies)
    assert (await browser.get(back)).status_code == 200
    browser.client.cookies.update(kept)
    problem(await browser.get(back), 401, "unauthenticated")


async def test_an_answer_is_of_the_issuer_that_the_browser_was_sent_to(browser: Visitor, issuer: OidcIssuer) -> None:
    back = (await sent_away(browser, "one")).replace("/oidc/one/", "/oidc/two/")
    before = issuer.asked
    problem(await browser.get(back), 401, "unauthenticated")
    assert issuer.asked == before


async def test_a_wrong_state_or_a_refusal_is_refused(browser: Visitor) -> None:
    back = urlsplit(await sent_away(browser))
    code = parse_qs(back.query)["code"][0]
    for query in (f"code={code}&state={'a' * 43}", f"code={code}", "error=access_denied", ""):
        problem(await browser.get(f"{back.scheme}://{back.netloc}{back.path}?{query}"), 401, "unauthenticated")


async def test_what_comes_too_late_is_refused(browser: Visitor) -> None:
    back = await sent_away(browser)
    parts = browser.app.state.parts
    late = replace(parts.people, clock=lambda: utc_now() + dt.timedelta(minutes=6))
    browser.app.state.parts = replace(parts, people=late)
    problem(await browser.get(back), 401, "unauthenticated")


async def test_a_second_factor_is_asked_for_as_after_a_password(anna: Visitor, browser: Visitor) -> None:
    _, made = await with_passkey(anna)
    answer = (await came_back(browser)).json()
    assert answer["passkey"]
    body = {"token": answer["second_step_token"], "code": made["recovery_codes"][0]}
    assert (await browser.post("auth/login/second-step", **body)).status_code == 200


async def test_who_has_no_password_is_let_in_by_none_and_sets_one_by_letter(
    browser: Visitor, sink: SubmissionServer
) -> None:
    assert (await came_back(browser)).status_code == 200
    problem(await browser.log_in("anna@example.net", PASSWORD), 401, "unauthenticated")
    await browser.post("auth/password/forgot", email="anna@example.net")
    code = browser.code("anna@example.net")
    assert (await browser.post("auth/password/reset", token=code, password=PASSWORD)).status_code == 204
    assert (await browser.log_in("anna@example.net")).status_code == 200


async def test_keys_that_the_issuer_has_changed_are_asked_for_again(browser: Visitor, issuer: OidcIssuer) -> None:
    assert (await came_back(browser)).status_code == 200
    known = issuer.key
    issuer.key = new_key()
    try:
        problem(await came_back(browser), 401, "unauthenticated")
        parts = browser.app.state.parts
        parts.people.issuers._clock = lambda: utc_now() + dt.timedelta(hours=2)
        issuer.claims = {"exp": int(time.time()) + 3 * 3600}
        assert (await came_back(browser)).status_code == 200
    finally:
        issuer.key = known


async def test_an_issuer_that_is_not_there_is_said(browser: Visitor, people_settings: Settings) -> None:
    problem(await browser.get("auth/oidc/three"), 404, "not-found")
    told = read_issuers(people_settings.oidc_file)
    away = {name: replace(each, url="http://127.0.0.1:1") for name, each in told.items()}
    parts = browser.app.state.parts
    gone = replace(parts.people, issuers=Issuers(away, "https://mail.test", utc_now))
    browser.app.state.parts = replace(parts, people=gone)
    problem(await browser.get("auth/oidc/one"), 503, "unavailable")
    await gone.issuers.close()


@pytest.mark.parametrize("url", ["http://issuer.example", "ftp://127.0.0.1", "127.0.0.1"])
def test_no_secret_goes_in_the_clear_beyond_loopback(tmp_path: Path, url: str) -> None:
    file = tmp_path / "oidc.json"
    told = {"name": "one", "issuer": url, "client_id": "us", "client_secret_file": str(file)}
    file.write_text(json.dumps([told]))
    with pytest.raises(ValueError, match="https"):
        read_issuers(file)
