"""How a plan stands, and each server of it."""

import enum


class PlanState(enum.StrEnum):
    """One state; planned and running may be aborted."""

    #: Its servers are chosen; nobody has applied it.
    PLANNED = "planned"
    #: Servers are upgraded, ring by ring.
    RUNNING = "running"
    #: A gate failed, or an operator aborted it: servers are taken back.
    ROLLING_BACK = "rolling_back"
    DONE = "done"
    ROLLED_BACK = "rolled_back"
    #: Aborted before it was applied.
    ABORTED = "aborted"


class ServerState(enum.StrEnum):
    """One state of a server in a plan."""

    #: Nothing was asked of it.
    WAITING = "waiting"
    #: It was told to upgrade, and does what it takes.
    ASKED = "asked"
    #: The release runs, was confirmed and did well on the server for a while.
    INSTALLED = "installed"
    #: It refused the release, went back by itself, or was not heard of.
    FAILED = "failed"
    #: It was told to go back.
    REVERTING = "reverting"
    REVERTED = "reverted"


#: Plans that may change servers; there is one at a time.
UNDER_WAY = frozenset({PlanState.RUNNING, PlanState.ROLLING_BACK})
