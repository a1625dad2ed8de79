"""Send tasks through Redis, then work them off with one celery worker, acknowledged after each has run.

Prints jobs per second, first start to last end. The pool is `solo`: the tasks do nothing, and handing them to another
process only costs.
"""

import contextlib
import json
import sys
import time

from celery import Celery
from celery.worker import state

app = Celery("bench")
moments: list[float] = []
wanted = 0


def send(text: str) -> None:
    moments.append(time.perf_counter())
    if len(moments) == wanted:
        state.should_stop = 0


def main() -> None:
    global wanted  # noqa: PLW0603 - celery calls the task with nothing of ours
    order = json.loads(sys.argv[1])
    wanted = order["count"]
    app.conf.update(
        broker_url=order["url"],
        task_ignore_result=True,
        task_acks_late=True,
        worker_prefetch_multiplier=100,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
    )
    task = app.task(name="send")(send)
    for _ in range(wanted):
        task.delay(order["payload"])
    worker = app.Worker(
        pool="solo", concurrency=1, loglevel="ERROR", quiet=True, without_gossip=True, without_mingle=True
    )
    # How a worker that was told to stop ends.
    with contextlib.suppress(SystemExit):
        worker.start()
    rate = (len(moments) - 1) / (moments[-1] - moments[0])
    print(json.dumps({"jobs_per_second": rate}))


if __name__ == "__main__":
    main()
