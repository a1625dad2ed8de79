"""Amazon's own client against a real api process."""

import asyncio
import email
import json
from collections.abc import AsyncIterator, Callable
from email import policy
from email.message import EmailMessage
from typing import Any

import boto3
import httpx
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from sqlalchemy import text

from control_plane.settings import Settings
from db.session import Database
from tests.integration.api_process import running_api
from tests.integration.database import SomeTenant
from tests.integration.mail_rows import SomeInbox, make_inbox, make_server

SIMPLE = {"Simple": {"Subject": {"Data": "Fish"}, "Body": {"Text": {"Data": "Hello\n", "Charset": "UTF-8"}}}}
TO_ANNA = {"ToAddresses": ["Anna <anna@example.net>"]}

Call = Callable[..., Any]
#: boto3 makes its clients at run time.
Ses = Any


@pytest.fixture
async def url(rest_settings: Settings) -> AsyncIterator[str]:
    with running_api(rest_settings) as running:
        yield running


@pytest.fixture
async def inbox(system_database: Database, tenant: SomeTenant) -> SomeInbox:
    return await make_inbox(system_database, tenant, await make_server(system_database, tenant))


@pytest.fixture
async def sender(system_database: Database, inbox: SomeInbox) -> str:
    return str((await rows(system_database, "SELECT email_address FROM inboxes"))[0].email_address)


async def rows(database: Database, query: str) -> list[Any]:
    async with database.system() as session:
        return list((await session.execute(text(query))).all())


async def make_credentials(url: str, tenant: SomeTenant, **wanted: object) -> dict[str, str]:
    headers = {"Authorization": f"Bearer {tenant.api_key}"}
    body = {"name": "ses", "scopes": ["messages:send"], "signing": True, **wanted}
    async with httpx.AsyncClient(base_url=url, headers=headers) as client:
        answer = await client.post("/api/v1/api-keys", json=body)
        assert answer.status_code == 201, answer.text
        return dict(answer.json()["aws"])


def ses(url: str, credentials: dict[str, str]) -> Ses:
    return boto3.client(
        "sesv2",
        endpoint_url=url,
        region_name="eu-central-1",
        aws_access_key_id=credentials["access_key_id"],
        aws_secret_access_key=credentials["secret_access_key"],
        config=Config(retries={"max_attempts": 0}),
    )


@pytest.fixture
async def client(url: str, tenant: SomeTenant) -> Ses:
    return ses(url, await make_credentials(url, tenant))


async def refused(code: str, call: Call, **request: object) -> str:
    with pytest.raises(ClientError) as caught:
        await asyncio.to_thread(call, **request)
    error = caught.value.response["Error"]
    assert error["Code"] == code, error
    return str(error["Message"])


def parsed(payload: bytes) -> EmailMessage:
    message = email.message_from_bytes(payload, policy=policy.SMTP)
    assert isinstance(message, EmailMessage)
    return message


async def test_a_message_to_several_is_a_send_to_each(
    client: Ses,
    system_database: Database,
    sender: str,
    inbox: SomeInbox,
) -> None:
    answer = await asyncio.to_thread(
        client.send_email,
        FromEmailAddress=f"Fish Shop <{sender}>",
        Destination={**TO_ANNA, "CcAddresses": ["bob@example.net"], "BccAddresses": ["eve@example.net"]},
        ReplyToAddresses=["help@example.net"],
        Content=SIMPLE,
        EmailTags=[{"Name": "a", "Value": "b"}],
    )
    sends = await rows(system_database, "SELECT * FROM messages ORDER BY id")
    assert str(sends[0].id) == answer["MessageId"]
    assert [each.recipient for each in sends] == ["anna@example.net", "bob@example.net", "eve@example.net"]
    assert {(each.inbox_id, each.subject, each.state) for each in sends} == {(inbox.id, "Fish", "accepted")}
    for each in sends:
        message = parsed(each.payload)
        assert (message["From"], message["To"]) == (f"Fish Shop <{sender}>", "Anna <anna@example.net>")
        assert (message["Cc"], message["Reply-To"], message["Bcc"]) == ("bob@example.net", "help@example.net", None)
        assert message.get_content() == "Hello\r\n"


async def test_a_raw_message_is_sent_as_it_was_written(
    client: Ses,
    system_database: Database,
    sender: str,
) -> None:
    written = EmailMessage(policy=policy.SMTP)
    written["From"], written["To"], written["Bcc"], written["Subject"] = (
        sender,
        "anna@example.net",
        "b@x.example",
        "Möwe",
    )
    written.set_content("See the picture\n")
    written.add_attachment(b"\x89PNG", "image", "png", filename="fish.png")
    raw = {"Raw": {"Data": written.as_bytes()}}
    await asyncio.to_thread(client.send_email, FromEmailAddress=sender, Destination=TO_ANNA, Content=raw)
    (send,) = await rows(system_database, "SELECT * FROM messages")
    message = parsed(send.payload)
    assert (send.subject, message["Subject"], message["Bcc"]) == ("Möwe", "Möwe", None)
    assert [part.get_content_type() for part in message.walk()] == ["multipart/mixed", "text/plain", "image/png"]
    raw["Raw"]["Data"] = written.as_bytes().replace(sender.encode(), b"boss@example.net")
    assert "From" in await refused(
        "MessageRejected", client.send_email, FromEmailAddress=sender, Destination=TO_ANNA, Content=raw
    )


async def test_a_template_is_filled_for_each_entry_and_each_is_told_what_became_of_it(
    client: Ses,
    system_database: Database,
    sender: str,
) -> None:
    def entry(to: str, data: dict[str, object]) -> dict[str, object]:
        filled = {"ReplacementTemplate": {"ReplacementTemplateData": json.dumps(data)}}
        return {"Destination": {"ToAddresses": [to]}, "ReplacementEmailContent": filled}

    template = {
        "TemplateContent": {"Subject": "{{fish.kind}} for {{name}}", "Html": "<p>{{ fish.kind }}, {{kilos}} kg</p>"},
        "TemplateData": json.dumps({"fish": {"kind": "Cod"}, "kilos": 2.5}),
    }
    answer = await asyncio.to_thread(
        client.send_bulk_email,
        FromEmailAddress=sender,
        DefaultContent={"Template": template},
        BulkEmailEntries=[
            entry("anna@example.net", {"name": "Anna"}),
            entry("bob@example.net", {}),
            entry("nobody", {"name": "Nobody"}),
            entry("eve@example.net", {"name": "Eve", "fish": {"kind": "Eel"}}),
        ],
    )
    results = answer["BulkEmailEntryResults"]
    assert [each["Status"] for each in results] == ["SUCCESS", "INVALID_PARAMETER", "INVALID_PARAMETER", "SUCCESS"]
    assert "'name'" in results[1]["Error"]
    sends = await rows(system_database, "SELECT * FROM messages ORDER BY id")
    assert [str(each.id) for each in sends] == [results[0]["MessageId"], results[3]["MessageId"]]
    assert [each.subject for each in sends] == ["Cod for Anna", "Eel for Eve"]
    assert parsed(sends[1].payload).get_content() == "<p>Eel, 2.5 kg</p>\r\n"


async def test_what_is_not_sent_is_told_in_amazons_words(
    client: Ses,
    system_database: Database,
    sender: str,
    other_tenant: SomeTenant,
) -> None:
    their_server = await make_server(system_database, other_tenant)
    theirs = await make_inbox(system_database, other_tenant, their_server)
    addresses = await rows(system_database, f"SELECT email_address FROM inboxes WHERE id = '{theirs.id}'")  # noqa: S608
    good = {"FromEmailAddress": sender, "Destination": TO_ANNA, "Content": SIMPLE}
    domain = sender.partition("@")[2]
    for code, change in (
        ("MailFromDomainNotVerifiedException", {"FromEmailAddress": addresses[0].email_address}),
        ("MessageRejected", {"FromEmailAddress": f"nobody@{domain}"}),
        ("BadRequestException", {"FromEmailAddress": "nobody"}),
        ("BadRequestException", {"Destination": {"ToAddresses": ["nobody"]}}),
        ("BadRequestException", {"Destination": {}}),
        ("BadRequestException", {"Destination": {"ToAddresses": [f"a{n}@example.net" for n in range(51)]}}),
        ("BadRequestException", {"Content": {}}),
        ("BadRequestException", {"Content": {"Template": {"TemplateName": "welcome"}}}),
        ("BadRequestException", {"ListManagementOptions": {"ContactListName": "all"}}),
        (
            "MessageRejected",
            {"Content": {"Simple": {**SIMPLE["Simple"], "Headers": [{"Name": "To", "Value": "x"}]}}},
        ),
    ):
        assert await refused(code, client.send_email, **{**good, **change})
    await refused("UnknownOperationException", client.get_account)
    assert await rows(system_database, "SELECT * FROM messages") == []


async def test_only_a_key_that_may_sign_and_send_and_is_in_force_gets_in(
    url: str, system_database: Database, tenant: SomeTenant, sender: str
) -> None:
    good = {"FromEmailAddress": sender, "Destination": TO_ANNA, "Content": SIMPLE}
    credentials = await make_credentials(url, tenant)
    wrong = ses(url, {**credentials, "secret_access_key": "wrong"})
    await refused("InvalidSignatureException", wrong.send_email, **good)
    name, _, secret = tenant.api_key.rpartition("_")
    unsigned = ses(url, {"access_key_id": name, "secret_access_key": secret})
    await refused("UnrecognizedClientException", unsigned.send_email, **good)
    foreign = ses(url, {"access_key_id": "AKIAIOSFODNN7EXAMPLE", "secret_access_key": "x"})
    await refused("UnrecognizedClientException", foreign.send_email, **good)
    reader = ses(url, await make_credentials(url, tenant, scopes=["messages:read"]))
    await refused("AccessDeniedException", reader.send_email, **good)
    async with system_database.system() as session:
        await session.execute(text("UPDATE api_keys SET revoked_at = now() WHERE name = 'ses'"))
    await refused("UnrecognizedClientException", ses(url, credentials).send_email, **good)
    assert await rows(system_database, "SELECT * FROM messages") == []


async def test_a_request_that_comes_again_sends_nothing_again(
    url: str,
    client: Ses,
    system_database: Database,
    sender: str,
) -> None:
    seen: list[Any] = []
    client.meta.events.register("before-send.sesv2", lambda request, **_: seen.append(request))
    send = client.send_email
    answer = await asyncio.to_thread(send, FromEmailAddress=sender, Destination=TO_ANNA, Content=SIMPLE)
    (request,) = seen
    async with httpx.AsyncClient() as plain:
        again = await plain.post(request.url, content=request.body, headers=dict(request.headers))
        assert again.json()["MessageId"] == answer["MessageId"]
        changed = request.body.replace(b"Fish", b"Eels")
        refusal = await plain.post(request.url, content=changed, headers=dict(request.headers))
        assert refusal.status_code == 403
        assert refusal.headers["x-amzn-errortype"] == refusal.json()["__type"] == "InvalidSignatureException"
        without = await plain.post(request.url, content=request.body, headers={"Content-Type": "application/json"})
        assert without.headers["x-amzn-errortype"] == "UnrecognizedClientException"
    await asyncio.to_thread(send, FromEmailAddress=sender, Destination=TO_ANNA, Content=SIMPLE)
    assert len(await rows(system_database, "SELECT * FROM messages")) == 2
