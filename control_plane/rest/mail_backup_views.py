"""Places of mailboxes' backups as both doors take and show them: what opens one comes in and is never shown."""

import datetime as dt
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, SecretStr
from pydantic.config import JsonDict

from control_plane.fleet.mail_backups import ShownTarget, TargetSet, WantedTarget
from control_plane.rest.story_ids import MOMENT

_PLACE = "rest:https://backups.example/penguin"
_SHOWN: JsonDict = {"repository": _PLACE, "credentials": [], "set_at": MOMENT}
_WANTED: JsonDict = {"repository": "rest:https://penguin:herring@backups.example/penguin"}

_Variable = Annotated[str, Field(max_length=40, pattern=r"^[A-Z][A-Z0-9_]*$")]
_Credential = Annotated[SecretStr, Field(min_length=1, max_length=500)]


class NewMailBackups(BaseModel):
    """Where mailboxes go, for restic: rest:https://…, s3:https://…, b2:name:path or azure:name:/path.

    It replaces all that was said before. Backups that are there already go on with their password alone; without one a
    new one is made and shown once. Credentials are by the names that restic knows, such as AWS_ACCESS_KEY_ID.
    """

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": _WANTED})

    repository: str = Field(min_length=1, max_length=500, repr=False)
    password: SecretStr | None = Field(None, min_length=16, max_length=128)
    credentials: dict[_Variable, _Credential] = Field(default={}, max_length=10)

    def wanted(self) -> WantedTarget:
        """Return it without what hides secrets."""
        password = None if self.password is None else self.password.get_secret_value()
        credentials = {name: value.get_secret_value() for name, value in self.credentials.items()}
        return WantedTarget(self.repository, credentials, password)


class MailBackupsView(BaseModel):
    """Where mailboxes go: without a user and password in it, and of credentials the names.

    `repository` is null of what was set before it could be shown.
    """

    model_config = ConfigDict(from_attributes=True, json_schema_extra={"example": _SHOWN})

    repository: str | None
    credentials: list[str]
    set_at: dt.datetime


class MailBackupsSet(MailBackupsView):
    """The same when it was set, of how many servers, and once the password that was made: without it nothing opens."""

    model_config = ConfigDict(
        from_attributes=True, json_schema_extra={"example": {**_SHOWN, "servers": 3, "password": "…"}}
    )

    servers: int
    password: str | None

    @classmethod
    def of(cls, shown: ShownTarget, done: TargetSet) -> "MailBackupsSet":
        """Return what is answered."""
        view = MailBackupsView.model_validate(shown)
        return cls(**view.model_dump(), servers=done.servers, password=done.new_password)
