"""The mail of a soak: each server's inbox writes to the next one's, evenly, and is looked for in the mailboxes."""

import asyncio
import itertools
import subprocess
import time
from collections import Counter
from pathlib import Path

from control_plane.providers.local.machine import machine_shell
from tests.flow.spine import FINAL, Party, call, until_key

_FINAL_SECONDS = 120.0


def machine_name(party: Party) -> str:
    """Return the name of the party's local server."""
    return f"pm-{party.server['id'].replace('-', '')[:12]}"


class Mailboxes:
    """What lies in the servers' mailboxes."""

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir

    def subjects(self, party: Party) -> list[str]:
        """Return the subjects of all that lies in the inbox of the party."""
        shell = machine_shell(self._state_dir, machine_name(party))
        wanted = (
            "doveadm",
            "-f",
            "tab",
            "fetch",
            "-u",
            party.inbox["email_address"],
            "hdr.subject",
            "mailbox",
            "INBOX",
        )
        done = subprocess.run([*shell, *wanted], capture_output=True, text=True, timeout=60, check=True)
        return done.stdout.splitlines()[1:]


class Mail:
    """Sends of all parties in turn; `subjects` are those of what was accepted, with the message's id."""

    def __init__(self, parties: list[Party], rate: float) -> None:
        self._parties = parties
        self._pause = 1 / rate
        self.subjects: dict[str, str] = {}

    async def send_for_ever(self) -> None:
        """Send by the clock until cancelled; the first that is refused ends it with an error."""
        begun = time.monotonic()
        for number in itertools.count():
            await asyncio.sleep(begun + number * self._pause - time.monotonic())
            sender = self._parties[number % len(self._parties)]
            receiver = self._parties[(number + 1) % len(self._parties)]
            subject = f"soak {number}"
            order = {"to": receiver.inbox["email_address"], "subject": subject, "text": "Herring.\n"}
            # What is under way when the soak ends is accepted too.
            accepted = asyncio.shield(call(sender.client, "POST", f"/inboxes/{sender.inbox['id']}/messages", order))
            self.subjects[subject] = str((await accepted)["id"])

    async def found_in(self, mailboxes: Mailboxes) -> Counter[str]:
        """Return how often each lies in the mailboxes, once all are final."""
        for number, message_id in enumerate(self.subjects.values()):
            sender = self._parties[number % len(self._parties)]
            await until_key(sender.client, f"/messages/{message_id}", "state", FINAL, _FINAL_SECONDS)
        found: Counter[str] = Counter()
        for party in self._parties:
            found.update(await asyncio.to_thread(mailboxes.subjects, party))
        return Counter({subject: count for subject, count in found.items() if subject in self.subjects})
