"""What browsers send and are sent about passkeys: the JSON forms of Web Authentication, Level 3, section 5.1."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

_BASE64URL = "^[A-Za-z0-9_-]+$"
_Short = Annotated[str, StringConstraints(min_length=2, max_length=1400, pattern=_BASE64URL)]
_Long = Annotated[str, StringConstraints(min_length=2, max_length=16384, pattern=_BASE64URL)]


class _FromBrowser(BaseModel):
    """What a browser adds beyond these is not looked at: newer ones say more than we ask."""

    model_config = ConfigDict(extra="ignore")


class _Made(_FromBrowser):
    client_data: _Long = Field(alias="clientDataJSON")
    attestation_object: _Long = Field(alias="attestationObject")


class _Answered(_FromBrowser):
    client_data: _Long = Field(alias="clientDataJSON")
    authenticator_data: _Long = Field(alias="authenticatorData")
    signature: _Short


class _Credential(_FromBrowser):
    id: _Short
    raw_id: _Short = Field(alias="rawId")
    type: Literal["public-key"]

    def as_json(self) -> dict[str, Any]:
        """Return it in the names of the specification."""
        return self.model_dump(by_alias=True)


class NewCredential(_Credential):
    """What `navigator.credentials.create()` gave, by its `toJSON()`."""

    response: _Made


class AnsweredCredential(_Credential):
    """What `navigator.credentials.get()` gave, by its `toJSON()`."""

    response: _Answered


class PasskeyOptions(BaseModel):
    """What a browser is asked: for `PublicKeyCredential.parseCreationOptionsFromJSON()` or `…RequestOptions…`."""

    options: dict[str, Any]
