"""How a process of agents is told what to do: JSON lines through its standard input and output."""

import asyncio
import json
import sys
from typing import Protocol


class Answers(Protocol):
    """What a process of agents does when it is told."""

    def connect(self, over: float) -> dict[str, object]:
        """Have all connect, spread over so many seconds."""
        ...

    def report(self, over: float) -> dict[str, object]:
        """Have those that are connected report, or no more for 0."""
        ...

    def tell(self) -> dict[str, object]:
        """Say how it stands."""
        ...


async def serve_orders(crowd: Answers) -> None:
    """Answer each order; return when nobody gives any more, who gave them being gone."""
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)
    while line := await reader.readline():
        order = json.loads(line)
        match order["do"]:
            case "connect":
                answer = crowd.connect(order["over"])
            case "report":
                answer = crowd.report(order["over"])
            case _:
                answer = crowd.tell()
        print(json.dumps(answer), flush=True)
