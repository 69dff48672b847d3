"""Measuring on a machine that others use too: interleaved rounds, of which the quietest count."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass, field

Contender = Callable[[int], float]
"""Does its work as often as requested, and returns the seconds that took: CPU time where nothing sleeps."""


@dataclass
class Group:
    """What is measured against each other, in one table."""

    title: str
    unit: str
    per_second: float
    """How many units one second has: 1e9 for ns, 1e6 for us."""
    base: str
    """The contender whose ratio is 1."""
    contenders: dict[str, Contender]
    times: int
    """How often each does its work in a round."""
    rounds: int = 21
    quietest: int = 7
    figures: dict[str, list[float]] = field(default_factory=dict)

    def measure(self) -> None:
        """Every contender once per round, in an order that turns, so that all meet the same weather."""
        labels = list(self.contenders)
        for label in labels:  # once to warm up
            self.contenders[label](max(1, self.times // 10))
            self.figures[label] = []
        for turn in range(self.rounds):
            shift = turn % len(labels)
            for label in labels[shift:] + labels[:shift]:
                seconds = self.contenders[label](self.times)
                self.figures[label].append(seconds / self.times * self.per_second)

    def figure(self, label: str) -> float:
        """The median of the quietest rounds."""
        return statistics.median(sorted(self.figures[label])[: self.quietest])

    def ratio(self, label: str) -> float:
        return self.figure(label) / self.figure(self.base)

    def estimator(self) -> str:
        if self.quietest >= self.rounds:
            return f"median of {self.rounds} rounds"
        return f"median of the {self.quietest} quietest of {self.rounds} rounds"

    def table(self) -> str:
        width = max(map(len, self.figures))
        lines = [f"{self.title}, {self.unit}; {self.estimator()}"]
        lines += [f"  {label:{width}} {self.figure(label):12,.1f} {self.ratio(label):9.3g}x" for label in self.figures]
        return "\n".join(lines)
