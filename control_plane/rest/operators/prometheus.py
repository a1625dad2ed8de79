"""What a Prometheus of the operators' asks for: which processes there are to scrape, and how the servers are."""

import asyncio
from itertools import groupby
from typing import Annotated

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict
from pydantic.config import JsonDict

from control_plane.monitoring.fleet_metrics import CONTENT_TYPE, newest_values, render
from control_plane.operators.scopes import OperatorScope
from control_plane.rest.operators.access import OperatorAccess, operator_parts, operator_transaction
from control_plane.rest.strict_route import StrictRoute

router = APIRouter(tags=["prometheus"], route_class=StrictRoute)

_Reading = Annotated[OperatorAccess, operator_transaction(OperatorScope.READ_FLEET)]
_GROUP: JsonDict = {"targets": ["127.0.0.1:18025", "127.0.0.1:18027"], "labels": {"process": "api"}}
_TEXT = 'penguin_server_up{server="mx-1.penguin.example",provider="local",region="here"} 1\n# EOF\n'


class TargetGroup(BaseModel):
    """The metrics doors of the processes of one kind, as Prometheus' HTTP service discovery wants them."""

    model_config = ConfigDict(json_schema_extra={"example": _GROUP})

    targets: list[str]
    labels: dict[str, str]


@router.get("/prometheus/targets")
async def list_targets(request: Request, _access: _Reading) -> list[TargetGroup]:
    """List where the control plane's processes tell of themselves (PENGUIN_METRICS_TARGETS)."""
    named = sorted(target.split("@", 1) for target in operator_parts(request).metrics_targets)
    return [
        TargetGroup(targets=[address for _, address in group], labels={"process": process})
        for process, group in groupby(named, key=lambda each: each[0])
    ]


@router.get(
    "/metrics/fleet",
    response_class=Response,
    responses={200: {"content": {"application/openmetrics-text": {"example": _TEXT}}}},
)
async def show_fleet_metrics(request: Request, access: _Reading) -> Response:
    """Show the newest values of all servers as OpenMetrics."""
    servers = await newest_values(access.session, operator_parts(request).clock())
    # Of ten thousand servers it takes a while.
    body = await asyncio.to_thread(render, servers)
    return Response(body, media_type=CONTENT_TYPE)
