"""How the local provider and its daemon talk: one JSON object a line over a Unix socket, one answer for each request.

`{"method": "find", "params": {"name": "vps-1"}}` is answered by `{"result": ...}`, or by
`{"error": "refused" | "busy", "message": "..."}`, which the caller raises again as what it was.
"""

import asyncio
import json
from pathlib import Path

from pydantic_core import to_jsonable_python

from control_plane.providers.base import ProviderBusy, ProviderError

#: Bytes of one line; user-data is at most 32 KiB.
LINE_LIMIT = 1 << 20
_ERRORS = {"refused": ProviderError, "busy": ProviderBusy}


def encode(message: object) -> bytes:
    """Return one line."""
    return json.dumps(to_jsonable_python(message), separators=(",", ":")).encode() + b"\n"


def answer(result: object) -> bytes:
    """Return the line for a request that was done."""
    return encode({"result": result})


def refusal(error: ProviderError) -> bytes:
    """Return the line for a request that was not done."""
    kind = "busy" if isinstance(error, ProviderBusy) else "refused"
    return encode({"error": kind, "message": str(error)})


async def call(socket_path: Path, method: str, **params: object) -> object:
    """Ask the daemon and return its result.

    Raises what it answered, or `ProviderBusy` when it cannot be reached or hangs up: the deed may have been done.
    """
    try:
        reader, writer = await asyncio.open_unix_connection(str(socket_path), limit=LINE_LIMIT)
    except OSError as error:
        raise ProviderBusy(f"the local cloud does not answer at {socket_path}: {error.strerror}") from error
    try:
        writer.write(encode({"method": method, "params": params}))
        line = await reader.readline()
    except ConnectionError as error:
        raise ProviderBusy("the local cloud hung up") from error
    finally:
        writer.close()
    return result_in(line)


def result_in(line: bytes) -> object:
    """Return the result in an answer, or raise the error in it; half an answer is `ProviderBusy`."""
    if not line.endswith(b"\n"):
        raise ProviderBusy("the local cloud hung up")
    received = json.loads(line)
    if "error" in received:
        raise _ERRORS[received["error"]](received["message"])
    return received["result"]
