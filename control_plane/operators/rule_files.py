"""Which rules there are that an operator may name: those of files that the settings name, or those shipped."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from control_plane.healing import rules as healing
from control_plane.monitoring import alert_rules
from control_plane.monitoring.alerts import HEALING
from control_plane.settings import Settings


@dataclass(frozen=True, slots=True)
class RuleFiles:
    """Files of rules; without one, those shipped. Reading one raises what `read_rules` does."""

    alerts: Path | None = None
    healing: Path | None = None

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return what the settings name."""
        return cls(settings.alert_rules_file, settings.healing_rules_file)

    def names_of_healing(self) -> frozenset[str]:
        """Return the names of the rules of self-healing."""
        return frozenset(rule.name for rule in healing.read_rules(self.healing))

    def names_of_notes(self) -> frozenset[str]:
        """Return the names of those rules of self-healing that only write down what happens by itself."""
        return frozenset(rule.name for rule in healing.read_rules(self.healing) if rule.act in healing.ONCE)

    def names_of_alerts(self) -> frozenset[str]:
        """Return the names that alerts have: of the rules of alerts, and of what self-healing tells."""
        of_checks = {rule.name for rule in alert_rules.read_rules(self.alerts)}
        told = {f"{HEALING}{name}" for name in self.names_of_healing()}
        return frozenset(of_checks | told | {f"{name}.spent" for name in told})
