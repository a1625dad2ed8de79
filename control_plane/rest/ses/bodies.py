"""What SES's clients send and get, under SES's own names (Amazon SES API v2 Reference, SendEmail, SendBulkEmail).

A field that is not here is refused: what it asks for would not be done. Those that are here and say "not used" change
nothing about who gets which message.
"""

from typing import Annotated, Literal

from pydantic import Base64Bytes, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_pascal

#: As SES has it.
MAX_RECIPIENTS = 50

_Address = Annotated[str, Field(max_length=600)]
_Addresses = Annotated[list[_Address], Field(max_length=MAX_RECIPIENTS)]
_Subject = Annotated[str, Field(max_length=998)]


class _Shape(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_pascal, validate_by_name=True, extra="forbid", hide_input_in_errors=True
    )


class Destination(_Shape):
    """Who gets it. All are named in it but those of Bcc."""

    to_addresses: _Addresses = []
    cc_addresses: _Addresses = []
    bcc_addresses: _Addresses = []


class Content(_Shape):
    """A text; it is Unicode already, so its charset is not used."""

    data: str
    charset: str | None = None


class Body(_Shape):
    """Text, HTML or both."""

    text: Content | None = None
    html: Content | None = None


class Header(_Shape):
    """A field of the message's header."""

    name: Annotated[str, Field(max_length=126)]
    value: Annotated[str, Field(max_length=870)]


_Headers = Annotated[list[Header], Field(max_length=15)]


class Simple(_Shape):
    """A message that is put together here."""

    subject: Content
    body: Body
    headers: _Headers = []
    attachments: Annotated[list[object], Field(max_length=0, description="Send these in Raw.")] = []


class Raw(_Shape):
    """A message that its sender wrote."""

    data: Base64Bytes


class TemplateContent(_Shape):
    """A template that comes with the request."""

    subject: _Subject = ""
    text: str | None = None
    html: str | None = None


class Template(_Shape):
    """A template and its data; those that are kept at SES by name are not here."""

    template_name: str | None = None
    template_arn: str | None = None
    template_content: TemplateContent | None = None
    template_data: str = "{}"
    headers: _Headers = []
    attachments: Annotated[list[object], Field(max_length=0)] = []


class EmailContent(_Shape):
    """One of the three."""

    simple: Simple | None = None
    raw: Raw | None = None
    template: Template | None = None


class EmailTag(_Shape):
    """Not used."""

    name: str
    value: str


class _Sending(_Shape):
    from_email_address: _Address | None = None
    reply_to_addresses: _Addresses = []
    # Not used: who may send as an address, where failures are told, and what is counted is for this API to say.
    from_email_address_identity_arn: str | None = None
    feedback_forwarding_email_address: str | None = None
    feedback_forwarding_email_address_identity_arn: str | None = None
    configuration_set_name: str | None = None


class SendEmailRequest(_Sending):
    """SendEmail."""

    destination: Destination = Destination()
    content: EmailContent
    email_tags: list[EmailTag] = []


class ReplacementTemplate(_Shape):
    """One entry's data, over the default data."""

    replacement_template_data: str = "{}"


class ReplacementEmailContent(_Shape):
    """What differs for one entry."""

    replacement_template: ReplacementTemplate = ReplacementTemplate()


class BulkEmailEntry(_Shape):
    """One message of many."""

    destination: Destination
    replacement_email_content: ReplacementEmailContent = ReplacementEmailContent()
    replacement_headers: _Headers = []
    replacement_tags: list[EmailTag] = []


class BulkEmailContent(_Shape):
    """The template of all entries."""

    template: Template


class SendBulkEmailRequest(_Sending):
    """SendBulkEmail."""

    default_content: BulkEmailContent
    bulk_email_entries: Annotated[list[BulkEmailEntry], Field(min_length=1, max_length=MAX_RECIPIENTS)]
    default_email_tags: list[EmailTag] = []


class SendEmailResponse(_Shape):
    """The id of the message to the first recipient; it is what /api/v1/messages knows it by."""

    message_id: str


class BulkEmailEntryResult(_Shape):
    """What became of one entry."""

    status: Literal["SUCCESS", "MESSAGE_REJECTED", "INVALID_PARAMETER"]
    message_id: str | None = None
    error: str | None = None


class SendBulkEmailResponse(_Shape):
    """In the order of the entries."""

    bulk_email_entry_results: list[BulkEmailEntryResult]
