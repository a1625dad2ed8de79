"""deploy/prometheus and deploy/grafana on a real Prometheus, which scrapes real processes."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import yaml

from tests.integration.gateway import CHECKOUT
from tests.integration.telemetry.conftest import PROCESSES, Observed
from tests.integration.telemetry.prometheus import DEPLOYED, configured, promtool, running_prometheus
from tests.openmetrics import families_of

_NAME = re.compile(r"\b(?:penguin|process)_\w+|\bup\b")
_SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}


def test_the_rules_alert_when_they_should_and_not_otherwise(tmp_path: Path) -> None:
    shutil.copy(DEPLOYED / "rules.yml", tmp_path)
    shutil.copy(Path(__file__).with_name("rules_test.yml"), tmp_path)
    promtool("check", "rules", str(tmp_path / "rules.yml"))
    promtool("test", "rules", str(tmp_path / "rules_test.yml"))


async def test_what_is_deployed_finds_every_process_and_asks_for_metrics_that_there_are(
    observed: Observed, tmp_path: Path
) -> None:
    config = configured(tmp_path / "prometheus", observed.operators.removeprefix("http://"), observed.operator_key)
    promtool("check", "config", str(config))
    async with running_prometheus(config) as prometheus:
        await prometheus.until(f'count(up{{job="penguinmails"}} == 1) == {len(PROCESSES)}')
        (server,) = await prometheus.until('penguin_server_up{job="penguinmails-fleet"}')
        assert server["metric"]["region"] == "here"
        found = await prometheus.until("sum by (process) (penguin_http_requests_total) > 0")
        assert "operators" in {each["metric"]["process"] for each in found}
        there = await names_there(observed)
        asked = [*expressions_of_rules(), *expressions_of_dashboards()]
        assert len(asked) > 50
        for expression in asked:
            await prometheus.query(expression)
            assert set(_NAME.findall(expression)) <= there, expression


async def names_there(observed: Observed) -> set[str]:
    texts = [(await observed.scrape(process)).text for process in PROCESSES]
    key = {"Authorization": f"Bearer {observed.operator_key}"}
    async with httpx.AsyncClient(base_url=observed.operators, headers=key, timeout=20) as client:
        texts.append((await client.get("/operator/v1/metrics/fleet")).text)
    families = [family for text in texts for family in families_of(text).values()]
    return {"up"} | {family.name + suffix for family in families for suffix in _SUFFIXES.get(family.type, ("",))}


def expressions_of_rules() -> Iterator[str]:
    for group in yaml.safe_load((DEPLOYED / "rules.yml").read_text())["groups"]:
        yield from (rule["expr"] for rule in group["rules"])


def expressions_of_dashboards() -> Iterator[str]:
    dashboards = sorted((CHECKOUT / "deploy" / "grafana").glob("*.json"))
    assert [path.stem for path in dashboards] == ["control-plane", "delivery", "fleet"]
    for path in dashboards:
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel["targets"]:
                yield target["expr"].replace("$__rate_interval", "1m").replace("$server", ".*")
