"""Every process of the control plane tells of itself at a door of its own, and of no tenant."""

import re

import httpx
import pytest

from tests.integration.telemetry.conftest import PROCESSES, Observed
from tests.openmetrics import families_of

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-")


@pytest.mark.parametrize("process", PROCESSES)
async def test_a_process_tells_of_itself_in_openmetrics_and_names_nobody(observed: Observed, process: str) -> None:
    answer = await observed.scrape(process)
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    families = families_of(answer.text)
    assert families["process_resident_memory_bytes"].samples[0].value > 0
    assert families["penguin_http_request_seconds"].unit == "seconds"
    named = {value for family in families.values() for sample in family.samples for value in sample.labels.values()}
    assert not [value for value in named if _UUID.search(value) or "@" in value]


async def test_requests_are_counted_by_route_and_what_no_route_is_for_as_one(observed: Observed) -> None:
    key = {"Authorization": f"Bearer {observed.tenant.api_key}"}
    async with httpx.AsyncClient(base_url=observed.api, headers=key, timeout=20) as client:
        await client.get(f"/api/v1/workspaces/{observed.tenant.workspace_id}/inboxes")
        for word in ("one", "two"):
            await client.get(f"/api/v1/{word}")
        await client.request("FISH", "/api/v1/usage")
    families = families_of((await observed.scrape("api")).text)
    counted = {
        (sample.labels["operation"], sample.labels["status"]): sample.value
        for sample in families["penguin_http_requests"].samples
    }
    assert counted["GET /workspaces/{workspace_id}/inboxes", "2xx"] == 1
    assert counted["none", "4xx"] >= 2
    assert not [operation for operation, _ in counted if "FISH" in operation or "one" in operation.split("/")]
    pools = {sample.labels["role"]: sample.value for sample in families["penguin_database_connections_most"].samples}
    assert pools.keys() == {"door", "identity"}


async def test_the_tenants_door_has_no_metrics(observed: Observed) -> None:
    async with httpx.AsyncClient(base_url=observed.api, timeout=20) as client:
        assert (await client.get("/metrics")).status_code == 404
        assert (await client.get("/api/v1/metrics")).status_code == 404


async def test_the_queue_is_told_by_priority(observed: Observed) -> None:
    families = families_of((await observed.scrape("queuer")).text)
    sends = {
        (sample.labels["priority"], sample.labels["state"]): sample.value
        for sample in families["penguin_queue_sends"].samples
    }
    assert sends.keys() == {
        (priority, state) for priority in ("high", "normal", "low") for state in ("waiting", "due", "leased", "dead")
    }


async def test_anything_but_metrics_is_not_found(observed: Observed) -> None:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{observed.metrics['api']}", timeout=20) as client:
        assert (await client.get("/")).status_code == 404
        assert (await client.post("/metrics")).status_code == 404
