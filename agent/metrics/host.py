"""Load, memory and uptime of the whole server."""

import os
import time

import psutil

from protos.agent.v1.telemetry_pb2 import Host


def read_host() -> Host:
    """Sample the host; a few system calls, nothing that waits."""
    memory = psutil.virtual_memory()
    return Host(
        load_1m=os.getloadavg()[0],
        cpu_count=os.cpu_count() or 0,
        memory_total_bytes=memory.total,
        memory_available_bytes=memory.available,
        uptime_seconds=max(0.0, time.time() - psutil.boot_time()),
    )
