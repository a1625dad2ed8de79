"""What a bench measured, as ratios: the figures of one run, taken in turn, and how they stand to their goals."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Spread:
    """The figures of one thing, one for each round."""

    median: float
    min: float
    max: float

    @classmethod
    def of(cls, figures: Sequence[float]) -> "Spread":
        return cls(statistics.median(figures), min(figures), max(figures))


@dataclass(frozen=True, slots=True)
class Goal:
    """What a ratio should be; `at_most` turns it round."""

    value: float
    at_most: bool = False

    def is_met_by(self, figure: float) -> bool:
        return figure <= self.value if self.at_most else figure >= self.value


@dataclass(slots=True)
class Rounds:
    """The figures as they come, and the goals of what is made of them."""

    figures: dict[str, list[float]] = field(default_factory=dict)
    ratios: dict[str, dict[str, Any]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, name: str, figure: float) -> None:
        """Add a round's figure; the name says the unit."""
        self.figures.setdefault(name, []).append(figure)

    def compare(self, name: str, upper: str, lower: str, goal: Goal | None = None) -> None:
        """Make the ratio of two things, round by round: what was measured side by side is compared."""
        pairs = zip(self.figures[upper], self.figures[lower], strict=True)
        self._judge(name, [above / below for above, below in pairs], goal)

    def hold(self, name: str, figure: str, goal: Goal | None = None) -> None:
        """Hold a thing that was not compared here, such as a time, to its goal, if it has one."""
        self._judge(name, self.figures[figure], goal)

    def _judge(self, name: str, values: Sequence[float], goal: Goal | None) -> None:
        spread = Spread.of(values)
        self.ratios[name] = asdict(spread) | {
            "goal": goal.value if goal else None,
            "better": "less" if goal and goal.at_most else "more",
            "met": goal.is_met_by(spread.median) if goal else None,
        }

    def as_json(self) -> dict[str, Any]:
        return {
            "ratios": self.ratios,
            "figures": {name: asdict(Spread.of(values)) for name, values in self.figures.items()},
            "notes": self.notes,
        }


def table(report: Mapping[str, Any]) -> str:
    """Return the report for people."""
    machine = ", ".join(f"{name} {value}" for name, value in report["machine"].items())
    lines = [f"{report['bench']}: {report['rounds']} rounds, {report['seconds']:.0f} s", f"  on {machine}", ""]
    lines.append(f"  {'ratio':44} {'median':>9} {'min':>9} {'max':>9}   {'goal':>9}")
    for name, ratio in report["ratios"].items():
        goal = "-" if ratio["goal"] is None else f"{'<=' if ratio['better'] == 'less' else '>='} {ratio['goal']:g}"
        verdict = {True: "met", False: "MISSED", None: ""}[ratio["met"]]
        spread = f"{ratio['median']:9.3g} {ratio['min']:9.3g} {ratio['max']:9.3g}"
        lines.append(f"  {name:44} {spread}   {goal:>9} {verdict}")
    lines += ["", f"  {'figure':44} {'median':>9} {'min':>9} {'max':>9}"]
    for name, figure in report["figures"].items():
        lines.append(f"  {name:44} {figure['median']:9.4g} {figure['min']:9.4g} {figure['max']:9.4g}")
    lines += ["", *(f"  {note}" for note in report["notes"])]
    return "\n".join(lines)
