"""What a server is asked to do now, and what was done about it without a person.

An answer does not wait for the server: what came of a command is asked for by its id. Output is what the agent may
send, 256 KiB at most, masked, and forgotten after an hour.
"""

import datetime as dt
import uuid
from collections.abc import Collection
from typing import Annotated

from fastapi import APIRouter, Request, Response, status
from pydantic import BaseModel, ConfigDict, Field, StrictBool
from pydantic.config import JsonDict

from control_plane.fleet.commands import CommandState
from control_plane.fleet.log_lines import masked
from control_plane.healing.acts import acts_about
from control_plane.operators import healing, server_commands
from control_plane.operators.scopes import OperatorScope, require_one
from control_plane.operators.server_commands import TERMS, CommandKind, Wanted
from control_plane.rest.operators.access import OperatorAccess, operator_parts, operator_transaction
from control_plane.rest.pages import OperatorsPage, in_time
from control_plane.rest.reasons import Reason
from control_plane.rest.story_ids import CURSOR, MOMENT, PAUSE, REASON, VPS
from control_plane.rest.strict_route import StrictRoute

router = APIRouter(tags=["fleet"], route_class=StrictRoute)

_Reading = Annotated[OperatorAccess, operator_transaction(OperatorScope.READ_FLEET)]
_Managing = Annotated[OperatorAccess, operator_transaction(OperatorScope.MANAGE_FLEET)]
_Asking = Annotated[OperatorAccess, operator_transaction(*(terms.scope for terms in TERMS.values()))]

_BY_KIND = {"x-scope-by-kind": {kind.value: terms.scope.value for kind, terms in TERMS.items()}}
_ASKED: JsonDict = {"command_id": PAUSE, "run_id": None}
_OUTCOME: JsonDict = {
    "id": PAUSE,
    "kind": "flush_queue",
    "state": "done",
    "detail": "told Postfix to try everything that is deferred",
    "output": "-Queue ID-  --Size-- ----Arrival Time----",
    "truncated": False,
}
_ACT: JsonDict = {
    "id": PAUSE,
    "rule": "mail_server_down",
    "act": "restart_mail_server",
    "reason": "Postfix does not run.",
    "state": "done",
    "detail": "restarted opendkim, opendmarc, dovecot, postfix",
    "command_id": PAUSE,
    "began_at": MOMENT,
    "ended_at": MOMENT,
    "ended_by": None,
}


class NewCommand(BaseModel):
    """What to ask; `queue_id` for hold, release and delete, `lines` for tail, `domain` for rotate-key.

    `inbox` and `from_server` (which saved it) for list-mail-backups and restore-mail, and `snapshot` and `in_place` for
    the latter. That a backup or restore is begun is the answer to them: what came of it the server reports.
    """

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"kind": "flush", "reason": REASON}})

    kind: CommandKind
    queue_id: str | None = Field(None, pattern=r"^[0-9A-Za-z]{6,32}$")
    lines: int | None = Field(None, ge=1, le=1000)
    domain: str | None = Field(None, max_length=253, pattern=r"^[0-9A-Za-z.-]+$")
    inbox: str | None = Field(None, max_length=318, pattern=r"^[a-z0-9_.-]+@[a-z0-9.-]+$")
    snapshot: str | None = Field(None, pattern=r"^[0-9a-f]{4,64}$")
    from_server: uuid.UUID | None = None
    in_place: StrictBool | None = None
    reason: Reason = None


class AskedView(BaseModel):
    """The command, or for rotate-key the run that does it."""

    model_config = ConfigDict(from_attributes=True, json_schema_extra={"example": _ASKED})

    command_id: uuid.UUID | None = None
    run_id: uuid.UUID | None = None


class OutcomeView(BaseModel):
    """How a command stands: waiting, sent, done, failed, refused, expired (never reached) or unknown."""

    model_config = ConfigDict(json_schema_extra={"example": _OUTCOME})

    id: uuid.UUID
    kind: str
    state: str
    detail: str | None
    output: str | None
    truncated: bool

    @classmethod
    def of(cls, state: CommandState, scopes: Collection[str]) -> "OutcomeView":
        """Return what is shown of it to who has these scopes."""
        output = None
        if state.output is not None and server_commands.scope_of_output(state.kind) in scopes:
            output = "\n".join(masked(line) for line in state.output.splitlines())
        return cls(
            id=state.id,
            kind=state.kind,
            state=state.state,
            detail=state.detail,
            output=output,
            truncated=state.truncated,
        )


class HealingActView(BaseModel):
    """Something that was done by a rule; standing is what lasts until it is ended."""

    model_config = ConfigDict(from_attributes=True, json_schema_extra={"example": _ACT})

    id: uuid.UUID
    rule: str
    act: str
    reason: str
    state: str
    detail: str | None
    command_id: uuid.UUID | None
    began_at: dt.datetime
    ended_at: dt.datetime | None
    ended_by: str | None


class HealingActList(BaseModel):
    """A page of acts about a server; `next` is what to send as `after` for the page that follows."""

    model_config = ConfigDict(json_schema_extra={"example": {"items": [_ACT], "next": CURSOR}})

    items: list[HealingActView]
    next: str | None


class NewForbidden(BaseModel):
    """What is forbidden: without a rule all of them, without a server everywhere."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"rule": "mail_server_down", "vps_id": VPS, "reason": REASON}}
    )

    rule: str | None = Field(None, max_length=50, pattern=r"^[a-z][a-z0-9_]*$")
    vps_id: uuid.UUID | None = None
    reason: Reason = None


@router.post("/vps/{vps_id}/commands", status_code=status.HTTP_202_ACCEPTED, openapi_extra=_BY_KIND)
async def ask_server(
    vps_id: uuid.UUID, new: NewCommand, request: Request, response: Response, access: _Asking
) -> AskedView:
    """Ask a server to do something, at most once and within half a minute; 409 when it is not linked.

    What a kind needs is in `x-scope-by-kind`; the outcome is read with `fleet:read`.
    """
    require_one(access.scopes, {TERMS[new.kind].scope})
    wanted = Wanted(**new.model_dump(exclude={"reason"}))
    now = operator_parts(request).clock()
    asked = await server_commands.ask(access.session, access.actor, vps_id, wanted, now=now, reason=new.reason)
    if asked.command_id is not None:
        response.headers["Location"] = f"/operator/v1/vps/{vps_id}/commands/{asked.command_id}"
    return AskedView.model_validate(asked)


@router.get("/vps/{vps_id}/commands/{command_id}", openapi_extra=_BY_KIND)
async def show_command(vps_id: uuid.UUID, command_id: uuid.UUID, access: _Reading) -> OutcomeView:
    """Show what came of a command, and of one that was not done, why.

    Its output is shown to a key that may ask for such a command too (`x-scope-by-kind`): a log is mail traffic.
    """
    return OutcomeView.of(await server_commands.outcome(access.session, vps_id, command_id), access.scopes)


@router.get("/vps/{vps_id}/healing")
async def show_healing(vps_id: uuid.UUID, access: _Reading, page: OperatorsPage) -> HealingActList:
    """Show what was done about a server without a person, and why, newest first."""
    acts = await acts_about(access.session, vps_id, page.behind(uuid.UUID), page.limit)
    return HealingActList(
        items=[HealingActView.model_validate(act) for act in acts],
        next=page.next_after([in_time(act.began_at, act.id) for act in acts]),
    )


@router.post("/fleet/healing:forbid", status_code=status.HTTP_204_NO_CONTENT)
async def forbid_healing(what: NewForbidden, request: Request, access: _Managing) -> None:
    """Forbid a rule of self-healing, or all, on a server, or on all; what stands by it is taken back in seconds.

    Leases end at their deadline all the same: 422 for a rule that only writes that down (`server_gone`).
    """
    rules = operator_parts(request).rules
    await healing.forbid(access.session, access.actor, rules, what.rule, what.vps_id, reason=what.reason or "")


@router.post("/fleet/healing:allow", status_code=status.HTTP_204_NO_CONTENT)
async def allow_healing(what: NewForbidden, access: _Managing) -> None:
    """Allow again what was forbidden in the same words; 404 when it was not."""
    await healing.allow(access.session, access.actor, what.rule, what.vps_id)
