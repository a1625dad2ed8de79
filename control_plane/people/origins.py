"""Where what somebody does comes from."""

from dataclasses import dataclass

from control_plane.identity.networks import Address

_LONGEST_AGENT = 255


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a request came from, for its person to know it again."""

    address: Address | None
    user_agent: str

    @property
    def shown_agent(self) -> str:
        """The program as it calls itself, as far as it can be read."""
        return "".join(each for each in self.user_agent if each.isprintable())[:_LONGEST_AGENT]
