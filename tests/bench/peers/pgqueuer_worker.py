"""Enqueue jobs, then work them off with one pgqueuer. Prints jobs per second, first start to last end."""

import json
import sys
import time

import asyncpg
import uvloop
from pgqueuer import AsyncpgDriver, Job, PgQueuer, Queries
from pgqueuer.types import QueueExecutionMode

_BATCH = 500


async def work(url: str, count: int, payload: bytes, batch: int) -> float:
    moments: list[float] = []
    connection = await asyncpg.connect(url)
    driver = AsyncpgDriver(connection)
    queries = Queries(driver)
    await queries.install()
    for _ in range(count // _BATCH):
        await queries.enqueue(["send"] * _BATCH, [payload] * _BATCH, [0] * _BATCH)
    queuer = PgQueuer(driver)

    async def send(job: Job) -> None:
        moments.append(time.perf_counter())

    queuer.entrypoint("send")(send)
    await queuer.run(batch_size=batch, mode=QueueExecutionMode.drain)
    await connection.close()
    return (len(moments) - 1) / (moments[-1] - moments[0])


def main() -> None:
    order = json.loads(sys.argv[1])
    rate = uvloop.run(work(order["url"], order["count"], order["payload"].encode(), order["batch"]))
    print(json.dumps({"jobs_per_second": rate}))


if __name__ == "__main__":
    main()
