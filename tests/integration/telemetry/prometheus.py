"""A real Prometheus with the files of deploy/prometheus, its addresses and intervals those of a test."""

import asyncio
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.integration.gateway import CHECKOUT, free_port

DEPLOYED = CHECKOUT / "deploy" / "prometheus"
#: As often as it can be scraped without the tests' machine noticing.
_INTERVALS = (("scrape_interval: 15s", "1s"), ("scrape_interval: 30s", "1s"), ("scrape_timeout: 20s", "1s"))


def configured(folder: Path, operators: str, key: str) -> Path:
    """Copy the deployed files into the folder for an operators' door at `operators`, and return the configuration."""
    folder.mkdir(exist_ok=True)
    shutil.copy(DEPLOYED / "rules.yml", folder)
    config = (DEPLOYED / "prometheus.yml").read_text()
    assert config.count("127.0.0.1:8026") == 2
    config = config.replace("127.0.0.1:8026", operators)
    for line, seconds in _INTERVALS:
        assert line in config
        config = config.replace(line, f"{line.partition(':')[0]}: {seconds}")
    (folder / "prometheus.yml").write_text(config)
    (folder / "operator.key").write_text(key)
    return folder / "prometheus.yml"


def promtool(*arguments: str) -> str:
    """Run promtool and return its words; fail with them."""
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@dataclass(frozen=True)
class Prometheus:
    """Where a running Prometheus is."""

    client: httpx.AsyncClient

    async def query(self, expression: str) -> list[dict[str, Any]]:
        """Return an instant vector; fail for what is no expression."""
        answer = await self.client.get("/api/v1/query", params={"query": expression})
        assert answer.json()["status"] == "success", f"{expression}: {answer.text}"
        found: list[dict[str, Any]] = answer.json()["data"]["result"]
        return found

    async def until(self, expression: str) -> list[dict[str, Any]]:
        """Return what an expression gives once it gives something: when that is, only asking tells."""
        async with asyncio.timeout(40):
            while not (found := await self.query(expression)):  # noqa: ASYNC110 - another process has no event
                await asyncio.sleep(0.2)
        return found


@asynccontextmanager
async def running_prometheus(config: Path, options: Sequence[str] = ()) -> AsyncIterator[Prometheus]:
    """Run Prometheus until left, with its data beside its configuration."""
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        "prometheus",
        f"--config.file={config}",
        f"--storage.tsdb.path={config.parent / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=warn",
        *options,
        env={"PATH": os.environ["PATH"], "GOMAXPROCS": "1"},
    )
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
            await _ready(client)
            yield Prometheus(client)
    finally:
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(30):
            await process.wait()


async def _ready(client: httpx.AsyncClient) -> None:
    async with asyncio.timeout(40):
        while True:
            try:
                if (await client.get("/-/ready")).is_success:
                    return
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.1)
