"""The life of one server in one case: asked for, struck once, carried on by others, and judged.

Everything is the product's own but the world: PostgreSQL is real, the agent's link and the probe of the mail flow are
played. Time passes by the rows: what is to be left alone for a while is left alone no longer, and the claim of a worker
that is no more has run out.
"""

import asyncio
import contextlib
import json
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

from sqlalchemy import text

from control_plane.enrolment.authority import IssuedCertificate
from control_plane.enrolment.certificates import record_certificate
from control_plane.enrolment.identity import AgentIdentity
from control_plane.pipelines import worker as worker_module
from control_plane.pipelines.worker import Worker
from control_plane.preflight.findings import Check, Finding
from control_plane.preflight.findings import Verdict as Found
from control_plane.preflight.inspection import Inspector
from control_plane.providers.hostwinds.orders import forget_order
from control_plane.provisioning.environment import Environment
from control_plane.provisioning.kinds import pipelines
from control_plane.provisioning.rebuilding import request_rebuild
from control_plane.provisioning.requests import request_removal, request_server
from control_plane.provisioning.steps import verify_mail_flow
from control_plane.sealing import Sealer
from control_plane.settings import Settings
from db.session import Database
from tests.fakes.rebuilt_server import RebuiltServer
from tests.integration.database import FreshDatabase, SomeTenant, make_tenant
from tests.provisioning_faults.clouds import CLOUDS, Cloud
from tests.provisioning_faults.file_zone import FileZone
from tests.provisioning_faults.plan import LATER, REBUILDS, Case, Scenario
from tests.provisioning_faults.rebuild_life import Rebuilt, rebuilt_server
from tests.provisioning_faults.touches import (
    Killed,
    Touch,
    TouchedPublisher,
    TouchedStep,
    Touches,
    touched,
    touched_commands,
)
from tests.provisioning_faults.zone import MemoryZone

PLATFORM = "penguin.example"
_ROUNDS = 60
_KEY = bytes(32)
_SEALER = Sealer(_KEY)
_APPLIES = (
    "UPDATE vps_servers SET link_session = gen_random_uuid(), applied_version = desired_version,"
    " applied_at = now(), mail_server_status = 'running', applied_detail = 'played' WHERE id = :id"
)
_REPORTS = (
    "INSERT INTO vps_reports (vps_id, tenant_id, reported_at, received_at, report)"
    " SELECT id, tenant_id, now(), now(), CAST(:report AS jsonb) FROM vps_servers WHERE id = :id"
    " ON CONFLICT (vps_id) DO UPDATE SET reported_at = now(), received_at = now()"
)
_REPORT = json.dumps({"host": {"cpu_count": 1, "memory_total_bytes": "2147483648"}, "disks": [], "postfix_queue": {}})
_REFUSES = (
    "UPDATE vps_servers SET link_session = gen_random_uuid(), mail_server_status = 'refused',"
    " applied_detail = 'played' WHERE id = :id"
)


_TEN_MINUTES_LATER = (
    "UPDATE provider_orders SET placed_at = placed_at - interval '11 minutes'"
    " WHERE CAST(:id AS uuid) IS NOT NULL AND name = :name AND found_at IS NULL"
)
_WAITS_FOR_WORD = (
    "SELECT FROM pipeline_runs WHERE subject_id = :id AND state = 'needs_person' AND error LIKE '%forget-order%'"
)


@dataclass(frozen=True)
class Ground:
    """What all cases share: a database, a tenant, a control plane's settings."""

    database: Database
    tenant: SomeTenant
    settings: Settings


async def finds_nothing_wrong(*_: object) -> list[Finding]:
    """Play the preflight: blocklists, port 25 and the clock are no part of the matrix, and IPv6 is named."""
    return [Finding(Check.REVERSE_DNS_V6, "", Found.PASSED, "")]


@asynccontextmanager
async def standing_ground(fresh: FreshDatabase, folder: Path) -> AsyncIterator[Ground]:
    """Open the database, and have waiting steps given back at once and mail flow."""
    with played_world():
        async with opened_ground(fresh, folder) as ground:
            yield ground


@contextmanager
def played_world() -> Iterator[None]:
    """Have waiting steps given back at once, and mail flow, in this process."""
    with ExitStack() as stack:
        for patched in (
            patch.object(worker_module, "POLLED_SECONDS", 0.0),
            patch.object(verify_mail_flow, "verify_mail_flow", lambda _: None),
            patch.object(Inspector, "inspect", finds_nothing_wrong),
            *touched_commands(),
        ):
            stack.enter_context(patched)
        yield


@asynccontextmanager
async def opened_ground(fresh: FreshDatabase, folder: Path, *, pool_size: int = 20) -> AsyncIterator[Ground]:
    """Open the database, with a tenant and what a control plane has in its folder."""
    (folder / "wheelhouse").mkdir(parents=True)
    (folder / "wheelhouse" / "manifest.json").write_text("{}")
    (folder / "wheelhouse" / "bootstrap.py").write_text("print()\n")
    settings = Settings.model_validate({"state_dir": folder, "platform_domain": PLATFORM})
    settings.sealing_key_file.write_bytes(_KEY)
    database = Database(fresh.url("penguin_system"), pool_size=pool_size)
    try:
        yield Ground(database, await make_tenant(database, f"Penguin Post {uuid.uuid4()}"), settings)
    finally:
        await database.close()


@dataclass
class Verdict:
    """What a life came to; `wrong` is empty when it is valid."""

    asked: int = 0
    created: int = 0
    orphans: int = 0
    double_charges: int = 0
    wrong: list[str] = field(default_factory=list)
    touches: Sequence[Touch] = ()
    wire_calls: int = 0


@dataclass
class Life:
    """One server's."""

    ground: Ground
    case: Case
    cloud: Cloud
    touches: Touches
    zone: MemoryZone | FileZone = field(default_factory=MemoryZone)
    vps_id: uuid.UUID = field(default_factory=uuid.uuid4)
    #: What is played of it while it is rebuilt.
    systems: RebuiltServer | None = None

    def worker(self) -> Worker:
        """Return another worker, which knows nothing of those before."""
        provider = touched(self.cloud.provider, self.touches)
        environment = Environment(
            self.ground.database,
            {self.cloud.provider.key: provider},
            TouchedPublisher(self.zone, self.touches),
            self.ground.settings,
            _SEALER,
        )
        counted = {
            kind: replace(pipeline, steps=[TouchedStep(step, self.touches) for step in pipeline.steps])
            for kind, pipeline in pipelines(environment).items()
        }
        return Worker(self.ground.database, counted)

    async def ask(self) -> None:
        kind = CLOUDS[self.case.cloud]
        async with self.ground.database.tenant(self.ground.tenant.id) as session:
            self.vps_id = await request_server(
                session,
                tenant_id=self.ground.tenant.id,
                workspace_id=self.ground.tenant.workspace_id,
                provider=self.cloud.provider.key,
                size=kind.size,
                region=kind.region,
                platform_domain=PLATFORM,
                sealer=_SEALER,
                ipv4_address=kind.ipv4_address,
                ipv6_address=kind.ipv6_address,
            )

    async def remove(self) -> None:
        async with self.ground.database.tenant(self.ground.tenant.id) as session:
            await request_removal(session, tenant_id=self.ground.tenant.id, vps_id=self.vps_id)

    @asynccontextmanager
    async def rebuilt(self) -> AsyncIterator[Rebuilt]:
        """Play the server, which has mail, over its rebuild."""
        database, tenant_id, refuses = self.ground.database, self.ground.tenant.id, self.case.refuses
        async with rebuilt_server(
            database, tenant_id, self.vps_id, self.cloud, sealer=_SEALER, refuses=refuses
        ) as rebuilt:
            self.systems = rebuilt.server
            yield rebuilt

    async def rebuild(self) -> None:
        async with self.ground.database.tenant(self.ground.tenant.id) as session:
            await request_rebuild(session, tenant_id=self.ground.tenant.id, vps_id=self.vps_id)

    async def work(self) -> None:
        """Work on all that is open, with a new worker after each that dies, until nothing is or one is paused."""
        for _ in range(_ROUNDS):
            runs = await self.rows(
                "SELECT id, kind FROM pipeline_runs WHERE subject_id = :id"
                " AND state IN ('waiting', 'running', 'needs_person', 'undoing') ORDER BY created_at"
            )
            if not runs:
                return
            for run in runs:
                await self._work_on(run.id, run.kind)
            await self.play_agent()
            await self.play_customer()
            await self.execute(
                "UPDATE pipeline_steps s SET claimed_until = now() FROM pipeline_runs r"
                " WHERE r.id = s.run_id AND r.subject_id = :id AND s.claimed_until IS NOT NULL"
            )

    async def _work_on(self, run_id: uuid.UUID, kind: str) -> None:
        working = asyncio.create_task(self.worker().work_on(run_id, kind))
        if self.paused is None:
            pausing = asyncio.create_task(self.touches.reached.wait())
            await asyncio.wait((working, pausing), return_when=asyncio.FIRST_COMPLETED)
            pausing.cancel()
        else:
            await asyncio.wait((working,))
        if working.done():
            with contextlib.suppress(Killed):
                working.result()
        else:
            self.paused = working
            # Others must not be counted, nor struck: the one blow has fallen.
            self.touches.counting = False

    paused: asyncio.Task[None] | None = None

    async def come_back(self) -> str | None:
        """Let a paused worker go on; return what it changed, which must be nothing."""
        if self.paused is None:
            return None
        before = await self.standing()
        self.touches.let_go()
        try:
            await self.paused
        except (Exception, Killed) as error:  # noqa: BLE001 - whatever it is, it is the verdict
            return f"the worker that came back ended with {type(error).__name__}: {error}"
        after = await self.standing()
        return None if before == after else f"the worker that came back changed {_difference(before, after)}"

    async def standing(self) -> dict[str, Any]:
        """Return all that is recorded of it, here and in the world."""
        runs = "SELECT id, state, error, remedy FROM pipeline_runs WHERE subject_id = :id ORDER BY created_at"
        steps = (
            "SELECT s.run_id, s.position, s.state, s.error, s.result FROM pipeline_steps s JOIN pipeline_runs r"
            " ON r.id = s.run_id WHERE r.subject_id = :id ORDER BY s.run_id, s.position"
        )
        server = (
            "SELECT status, status_reason, ip_address, ipv6_address, ipv6_sending_since, desired_version"
            " FROM vps_servers WHERE id = :id"
        )
        return {
            "runs": await self.rows(runs),
            "steps": await self.rows(steps),
            "row": await self.rows(server),
            "servers": sorted(self.cloud.servers()),
            "created": self.cloud.created(),
            "rebuilds": self.cloud.rebuilds(),
            "leftovers": sorted(self.cloud.leftovers()),
            "zone": sorted(self.zone.records),
        }

    async def play_agent(self) -> None:
        """Enrol, connect and apply, when there is a server that may."""
        if self.systems is not None:
            await self.systems.look()
            return
        (row,) = await self.rows("SELECT status, link_session, desired_version FROM vps_servers WHERE id = :id")
        if row.status not in {"provisioning", "ready"} or not self.cloud.servers():
            return
        if row.link_session is None:
            issued = IssuedCertificate(b"", uuid.uuid4().hex, datetime.now(UTC) + timedelta(hours=1))
            async with self.ground.database.system() as session:
                await record_certificate(session, AgentIdentity(self.ground.tenant.id, self.vps_id), issued)
        await self.execute(_REFUSES if self.case.scenario is Scenario.UNDO else _APPLIES)
        await self.execute(_REPORTS, report=_REPORT)

    async def play_customer(self) -> None:
        """Look for an order that was written and is not to be seen, and say that it was never placed."""
        name = f"pm-{self.vps_id.hex[:12]}"
        await self.execute(_TEN_MINUTES_LATER, name=name)
        if await self.rows(_WAITS_FOR_WORD) and name not in self.cloud.servers():
            async with self.ground.database.system() as session:
                await forget_order(session, name)

    async def rows(self, query: str) -> list[Any]:
        async with self.ground.database.system() as session:
            return list(await session.execute(text(query), {"id": self.vps_id}))

    async def execute(self, statement: str, **values: object) -> None:
        async with self.ground.database.system() as session:
            await session.execute(text(statement), {"id": self.vps_id, **values})


def _difference(before: dict[str, Any], after: dict[str, Any]) -> str:
    return "; ".join(f"{name}: {before[name]} to {after[name]}" for name in before if before[name] != after[name])


async def live(ground: Ground, case: Case) -> Verdict:
    """Walk through a case and judge it."""
    async with CLOUDS[case.cloud].make(ground.database, case.lost_on_wire) as cloud:
        touches = Touches(case.at, case.blow)
        life = Life(ground, case, cloud, touches)
        touches.counting = case.scenario not in LATER
        await life.ask()
        await life.work()
        if case.scenario in REBUILDS:
            return await live_through_rebuild(life)
        if case.scenario in {Scenario.DECOMMISSION, Scenario.REMOVED}:
            touches.counting = case.scenario is Scenario.DECOMMISSION
            await life.remove()
            await life.work()
        changed = await life.come_back()
        return await judge(life, changed)


async def live_through_rebuild(life: Life) -> Verdict:
    """Have the server rebuilt, mail come for it after that, and a paused worker come back last of all."""
    async with life.rebuilt() as rebuilt:
        life.touches.counting = True
        await life.rebuild()
        await life.work()
        rebuilt.receive_late()
        verdict = await judge(life, await life.come_back())
        verdict.wrong += await rebuilt.wrong(life.case.rebuild_ends)
        return verdict


async def judge(life: Life, changed: str | None) -> Verdict:
    """Look at what there is in the end, and say what should not be so; `changed` is what one that came back changed."""
    cloud = life.cloud
    verdict = Verdict(cloud.asked(), cloud.created(), touches=life.touches.seen, wire_calls=cloud.wire_calls())
    (row,) = await life.rows("SELECT status, ipv6_address, ipv6_sending_since FROM vps_servers WHERE id = :id")
    runs = await life.rows("SELECT kind, state FROM pipeline_runs WHERE subject_id = :id ORDER BY created_at")
    identities = await life.rows("SELECT FROM agent_certificates WHERE vps_id = :id AND revoked_at IS NULL")
    kept = [f"pm-{life.vps_id.hex[:12]}"] if row.status == "ready" else []
    verdict.double_charges = max(verdict.created - verdict.asked, 0)
    verdict.orphans = len(cloud.servers()) - len(kept)
    if row.status not in life.case.ends:
        verdict.wrong.append(f"the server is {row.status}; {[tuple(run) for run in runs]}")
    if any(run.state in {"waiting", "running", "undoing", "needs_person"} for run in runs):
        verdict.wrong.append(f"a run is still open: {[tuple(run) for run in runs]}")
    if cloud.servers() != kept:
        verdict.wrong.append(f"there are servers {cloud.servers()}, and {kept} should be")
    if verdict.created != verdict.asked:
        verdict.wrong.append(f"{verdict.created} servers were made and {verdict.asked} asked for")
    if not kept and (cloud.leftovers() or life.zone.records or identities):
        verdict.wrong.append(f"left: {cloud.leftovers()}, {sorted(life.zone.records)}, {len(identities)} identities")
    if kept and (len(life.zone.records) != (3 if row.ipv6_address else 2) or not identities):
        verdict.wrong.append(f"missing: {sorted(life.zone.records)}, {len(identities)} identities")
    if kept and row.ipv6_address and not row.ipv6_sending_since:
        verdict.wrong.append("mail does not go out over IPv6, which is named")
    if changed is not None:
        verdict.wrong.append(changed)
    return verdict
