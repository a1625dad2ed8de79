"""How a change of the agent's release stands, in words that go from file to report to control plane.

From installing to refused, or to watching; from there to installed, or over rolling_back to rolled_back, as from
installed by order of the control plane.
"""

import enum


class State(enum.StrEnum):
    """One stage."""

    #: The release is fetched, verified and made ready beside the one that runs.
    INSTALLING = "installing"
    #: It could not be fetched, is not what was signed, or cannot run here; nothing was changed.
    REFUSED = "refused"
    #: It runs, and is watched.
    WATCHING = "watching"
    #: It did well; the one before is kept.
    INSTALLED = "installed"
    #: It did not, or the control plane wants it gone: the one before is being started.
    ROLLING_BACK = "rolling_back"
    ROLLED_BACK = "rolled_back"
