"""Send tasks to a Redis stream, then work them off with one taskiq receiver, acknowledged after each has run.

Prints jobs per second, first start to last end.
"""

import asyncio
import json
import sys
import time

from taskiq.api import run_receiver_task
from taskiq_redis import RedisStreamBroker


async def work(url: str, count: int, payload: str) -> float:
    moments: list[float] = []
    done = asyncio.Event()
    broker = RedisStreamBroker(url, consumer_id="0")

    async def send(text: str) -> None:
        moments.append(time.perf_counter())
        if len(moments) == count:
            done.set()

    task = broker.register_task(send, task_name="send")
    await broker.startup()
    for _ in range(count // 100):
        await asyncio.gather(*(task.kiq(payload) for _ in range(100)))
    receiver = asyncio.create_task(run_receiver_task(broker))
    await done.wait()
    receiver.cancel()
    await broker.shutdown()
    return (count - 1) / (moments[count - 1] - moments[0])


def main() -> None:
    order = json.loads(sys.argv[1])
    rate = asyncio.run(work(order["url"], order["count"], order["payload"]))
    print(json.dumps({"jobs_per_second": rate}))


if __name__ == "__main__":
    main()
