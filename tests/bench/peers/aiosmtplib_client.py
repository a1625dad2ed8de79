"""Inject messages with aiosmtplib; print the seconds. `PORT SENDER RECIPIENT COUNT SESSIONS SIZE`."""

import asyncio
import sys
import time

import aiosmtplib


async def inject(port: int, sender: str, recipient: str, message: bytes, *, each: int, sessions: int) -> None:
    async with asyncio.TaskGroup() as group:
        for _ in range(sessions):
            group.create_task(_serve(port, sender, recipient, each, message))


async def _serve(port: int, sender: str, recipient: str, count: int, message: bytes) -> None:
    async with aiosmtplib.SMTP(hostname="127.0.0.1", port=port, start_tls=False, local_hostname="localhost") as client:
        for _ in range(count):
            await client.sendmail(sender, [recipient], message)


def main() -> None:
    port, sender, recipient, count, sessions, size = sys.argv[1:]
    line = b"abcdefghij klmnopqrst uvwxyz abcdefghij klmnopqrst uvwxyz abcdefghi\r\n"
    head = f"From: {sender}\r\nTo: {recipient}\r\nSubject: Fish\r\n\r\n".encode()
    message = head + line * ((int(size) - len(head)) // len(line))
    started = time.perf_counter()
    asyncio.run(inject(int(port), sender, recipient, message, each=int(count) // int(sessions), sessions=int(sessions)))
    print(time.perf_counter() - started)


if __name__ == "__main__":
    main()
