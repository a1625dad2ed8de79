"""Inject messages through the agent's SMTP sessions, pipelined as agent/relay/sessions.py does; print the seconds.

`python -m tests.bench.inject_agent PORT SENDER RECIPIENT COUNT SESSIONS SIZE`
"""

import asyncio
import sys
import time

from agent.relay.submit import SmtpSession, envelope_commands, message_data
from tests.bench.text import message


async def inject(port: int, commands: bytes, data: bytes, count: int, sessions: int) -> None:
    async with asyncio.TaskGroup() as group:
        for _ in range(sessions):
            group.create_task(_serve(port, commands, data, count // sessions))


async def _serve(port: int, commands: bytes, data: bytes, count: int) -> None:
    session = await SmtpSession.connect("127.0.0.1", port)
    if session is None:
        raise RuntimeError("Postfix is away")
    await session.write(commands)
    for left in range(count - 1, -1, -1):
        for wanted in (250, 250, 354):
            await _expect(session, wanted)
        await session.write(data + (commands if left else b""))
        await _expect(session, 250)
    await session.quit()


async def _expect(session: SmtpSession, code: int) -> None:
    reply = await session.reply()
    if reply is None or reply.code != code:
        raise RuntimeError(f"Postfix says {reply}")


def main() -> None:
    port, sender, recipient, count, sessions, size = sys.argv[1:]
    data = message_data(message(int(size)))
    commands = envelope_commands(sender, recipient)
    started = time.perf_counter()
    asyncio.run(inject(int(port), commands, data, int(count), int(sessions)))
    print(time.perf_counter() - started)


if __name__ == "__main__":
    main()
