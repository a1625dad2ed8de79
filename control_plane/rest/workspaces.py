"""Workspaces: what a tenant divides its servers and inboxes into."""

import datetime as dt
import uuid
from typing import Annotated

from fastapi import APIRouter, Response, status
from pydantic import BaseModel, ConfigDict, Field

from control_plane.rest.access import Access, transaction
from control_plane.rest.names import Name
from control_plane.rest.pages import TenantsPage
from control_plane.rest.resource_route import ResourceRoute
from control_plane.tenancy.permissions import Permission
from control_plane.tenancy.workspaces import (
    add_workspace,
    delete_workspace,
    list_workspaces,
    load_workspace,
    rename_workspace,
)

router = APIRouter(prefix="/workspaces", tags=["workspaces"], route_class=ResourceRoute)

_Reading = Annotated[Access, transaction(Permission.READ_TENANT)]
_Managing = Annotated[Access, transaction(Permission.MANAGE_TENANT)]


#: What somebody, or a key, is to be there for.
Workspaces = Annotated[
    frozenset[uuid.UUID] | None,
    Field(
        min_length=1,
        max_length=100,
        description="These workspaces alone; none said is as much as whoever asks is there for.",
    ),
]


class WorkspaceBody(BaseModel):
    """What a workspace is to be called."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"name": "Fish Shop"}})

    name: Name


class WorkspaceView(BaseModel):
    """A workspace."""

    model_config = ConfigDict(from_attributes=True)

    id: uuid.UUID
    name: str
    created_at: dt.datetime


class WorkspaceList(BaseModel):
    """A page of workspaces; `next` is what to send as `after` for the page that follows."""

    items: list[WorkspaceView]
    next: str | None


@router.get("")
async def list_all(access: _Reading, page: TenantsPage) -> WorkspaceList:
    """List the tenant's workspaces."""
    workspaces = await list_workspaces(access.session, access.scope, page.after, page.limit)
    return WorkspaceList(
        items=[WorkspaceView.model_validate(each) for each in workspaces],
        next=page.next_after([each.id for each in workspaces]),
    )


@router.post("", status_code=status.HTTP_201_CREATED)
async def create(body: WorkspaceBody, response: Response, access: _Managing) -> WorkspaceView:
    """Make a workspace."""
    made = WorkspaceView.model_validate(await add_workspace(access.session, access.scope, body.name))
    response.headers["Location"] = f"/api/v1/workspaces/{made.id}"
    return made


@router.get("/{workspace_id}")
async def show(workspace_id: uuid.UUID, access: _Reading) -> WorkspaceView:
    """Show a workspace."""
    return WorkspaceView.model_validate(await load_workspace(access.session, access.scope, workspace_id))


@router.patch("/{workspace_id}")
async def change(workspace_id: uuid.UUID, body: WorkspaceBody, access: _Managing) -> WorkspaceView:
    """Change what a workspace is called."""
    renamed = await rename_workspace(access.session, access.scope, workspace_id, body.name)
    return WorkspaceView.model_validate(renamed)


@router.delete("/{workspace_id}", status_code=status.HTTP_204_NO_CONTENT)
async def delete(workspace_id: uuid.UUID, access: _Managing) -> None:
    """Delete a workspace; 409 while servers, domains, inboxes, IP pools, webhooks, members or API keys are in it."""
    await delete_workspace(access.session, access.scope, workspace_id)
