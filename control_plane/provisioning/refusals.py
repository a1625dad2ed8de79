"""What the errors of providers and DNS hosts mean to a run: what is waited for, asked of a person, or final.

| error | what follows |
| --- | --- |
| `ProviderBusy`: a rate limit, a lock, a lost answer | looked at again when it says |
| `NoCapacity`: every choice was tried | the same; the next look tries all of them again |
| `NeedsPerson`: a token, a quota | the run waits for a person, and looks again by itself |
| any other `ProviderError` | final: the run undoes itself, or a removal waits for a person |
| `PublisherUnavailable` | looked at again |
| `PublisherNeedsPerson`: credentials, no such zone | the run waits for a person, and looks again by itself |
| `PlanRefused` | final, as above |

What is waited for longer than the step's patience is final too (`Cause.GIVEN_UP`).
"""

from control_plane.dns.plan import PlanRefused, PublisherNeedsPerson, PublisherUnavailable
from control_plane.pipelines.step import AskPerson, Failed, Outcome, Wait
from control_plane.providers.base import NeedsPerson, ProviderBusy, ProviderError

#: Everything that talking to providers and DNS hosts raises.
WORLD_ERRORS = (ProviderError, PublisherUnavailable, PublisherNeedsPerson, PlanRefused)

_PROVIDER_REMEDY = "Do what the reason says at the provider; the run looks again by itself, or at once when resumed."
_PUBLISHER_REMEDY = (
    "Put it right at the DNS host, or give the domain another publisher (PUT /api/v1/domains/{id}/publisher); the run"
    " looks again by itself, or at once when resumed."
)
_PUBLISHER_SECONDS = 2.0
_REFUSED_PUBLISHER_SECONDS = 300.0


def outcome_of(error: Exception, refused: str) -> Outcome:
    """Return what follows from one of `WORLD_ERRORS`; `refused` begins the sentence when it is final."""
    match error:
        case NeedsPerson():
            return AskPerson(f"the provider: {error}", _PROVIDER_REMEDY, error.seconds)
        case ProviderBusy():
            return Wait(f"the provider: {error}", error.seconds)
        case PublisherNeedsPerson():
            return AskPerson(str(error), _PUBLISHER_REMEDY, _REFUSED_PUBLISHER_SECONDS)
        case PublisherUnavailable():
            return Wait(str(error), _PUBLISHER_SECONDS)
        case _:
            return Failed(f"{refused}: {error}")


def no_provider(key: str) -> Outcome:
    """Return what follows when the installation does not have the server's provider any more."""
    return AskPerson(f"there is no provider {key} here", f"Give this installation its settings for {key} again.")
