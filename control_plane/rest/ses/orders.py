"""What SES's requests come to as sends: pure. One for each recipient, which see each other in To and Cc."""

from collections.abc import Mapping, Sequence

from control_plane.errors import InvalidInput
from control_plane.messages.header_fields import read_mailbox
from control_plane.messages.send_request import Addressees, SendRequest
from control_plane.messages.written import read_written
from control_plane.rest.ses.bodies import (
    MAX_RECIPIENTS,
    BulkEmailEntry,
    Destination,
    Header,
    Raw,
    SendBulkEmailRequest,
    SendEmailRequest,
    Simple,
    Template,
    TemplateContent,
)
from control_plane.ses.templates import parse_data, render


def sends_of_email(body: SendEmailRequest, from_name: str | None) -> list[SendRequest]:
    """Return the sends of SendEmail; raise `InvalidInput`."""
    content = body.content
    if sum(each is not None for each in (content.simple, content.raw, content.template)) != 1:
        raise InvalidInput("Give one of Simple, Raw and Template.", "/Content")
    if content.raw:
        return _written(content.raw, body)
    pattern = content.simple or _template_content(content.template or Template())
    if isinstance(pattern, TemplateContent):
        template = content.template or Template()
        filled = _filled(pattern, parse_data(template.template_data, "/Content/Template/TemplateData"))
        return _sends(body.destination, filled, [*template.headers], body.reply_to_addresses, from_name)
    return _sends(body.destination, _texts(pattern), pattern.headers, body.reply_to_addresses, from_name)


def sends_of_entry(body: SendBulkEmailRequest, entry: BulkEmailEntry, from_name: str | None) -> list[SendRequest]:
    """Return the sends of one entry of SendBulkEmail; raise `InvalidInput`."""
    template = body.default_content.template
    own = entry.replacement_email_content.replacement_template.replacement_template_data
    data = {**parse_data(template.template_data, "/DefaultContent"), **parse_data(own, "/ReplacementTemplateData")}
    # A header of an entry takes the place of the default one of that name.
    headers = {each.name.lower(): each for each in (*template.headers, *entry.replacement_headers)}
    filled = _filled(_template_content(template), data)
    return _sends(entry.destination, filled, [*headers.values()], body.reply_to_addresses, from_name)


def _template_content(template: Template) -> TemplateContent:
    if template.template_content is None:
        raise InvalidInput("Templates are not kept here: send TemplateContent.", "/Template/TemplateContent")
    return template.template_content


def _filled(content: TemplateContent, data: Mapping[str, object]) -> TemplateContent:
    return TemplateContent(
        subject=render(content.subject, data, "/Template/Subject"),
        text=None if content.text is None else render(content.text, data, "/Template/Text"),
        html=None if content.html is None else render(content.html, data, "/Template/Html"),
    )


def _texts(simple: Simple) -> TemplateContent:
    text, html = (None if each is None else each.data for each in (simple.body.text, simple.body.html))
    return TemplateContent(subject=simple.subject.data, text=text, html=html)


def _sends(
    destination: Destination,
    content: TemplateContent,
    headers: Sequence[Header],
    reply_to: Sequence[str],
    from_name: str | None,
) -> list[SendRequest]:
    recipients = _recipients(destination)
    fields = [(each.name, each.value) for each in headers]
    if reply_to:
        fields.append(("Reply-To", ", ".join(reply_to)))
    addressees = Addressees(", ".join(destination.to_addresses), ", ".join(destination.cc_addresses))
    return [
        SendRequest(
            to=recipient,
            subject=content.subject,
            text=content.text,
            html=content.html,
            headers=tuple(fields),
            from_name=from_name,
            addressees=addressees,
        )
        for recipient in recipients
    ]


def _written(raw: Raw, body: SendEmailRequest) -> list[SendRequest]:
    written = read_written(raw.data)
    if body.reply_to_addresses:
        raise InvalidInput("A raw message says Reply-To in its own header.", "/ReplyToAddresses")
    return [SendRequest(to=each, subject=written.subject, written=written) for each in _recipients(body.destination)]


def _recipients(destination: Destination) -> list[str]:
    """Return each recipient once; raise `InvalidInput`."""
    named = (
        ("ToAddresses", destination.to_addresses),
        ("CcAddresses", destination.cc_addresses),
        ("BccAddresses", destination.bcc_addresses),
    )
    found = dict.fromkeys(
        str(read_mailbox(text, f"/Destination/{name}/{place}")[1])
        for name, texts in named
        for place, text in enumerate(texts)
    )
    if not 0 < len(found) <= MAX_RECIPIENTS:
        raise InvalidInput(f"A message goes to 1 to {MAX_RECIPIENTS} recipients, named here.", "/Destination")
    return list(found)
