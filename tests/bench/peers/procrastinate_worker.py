"""Defer jobs, then work them off with one procrastinate worker. Prints jobs per second, first start to last end."""

import asyncio
import json
import sys
import time

from procrastinate import App, PsycopgConnector
from procrastinate.types import JSONValue

_BATCH = 500


async def work(url: str, count: int, payload: str) -> float:
    app = App(connector=PsycopgConnector(conninfo=url))
    moments: list[float] = []

    async def send(text: str) -> None:
        moments.append(time.perf_counter())

    task = app.task(name="send")(send)
    jobs: list[dict[str, JSONValue]] = [{"text": payload}] * _BATCH
    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        for _ in range(count // _BATCH):
            await task.batch_defer_async(*jobs)
        # Ten at once: with one, each job waits for the one before to be recorded.
        await app.run_worker_async(wait=False, concurrency=10, install_signal_handlers=False, delete_jobs="always")
    return (len(moments) - 1) / (moments[-1] - moments[0])


def main() -> None:
    order = json.loads(sys.argv[1])
    rate = asyncio.run(work(order["url"], order["count"], order["payload"]))
    print(json.dumps({"jobs_per_second": rate}))


if __name__ == "__main__":
    main()
