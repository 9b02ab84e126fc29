"""The answer of a gate, and the verdict that all of them make."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, Self

if TYPE_CHECKING:
    from rich.table import Table

_NUMBERS = ("value", "threshold", "low", "high")

Outcome = Literal["pass", "fail", "undecided"]


@dataclass(frozen=True)
class GateResult:
    """One gate's answer.

    Attributes
    ----------
    name : str
        What is asked.
    outcome : str
        ``pass``, ``fail``, or ``undecided``: the rows do not say.
    value, threshold : float
        The number, and what it is held against.
    sentence : str
        What was found, for a person.
    required : bool
        Whether only a pass will do; otherwise a fail alone stops the candidate.
    low, high : float
        95 % interval of the value, where there is one.
    """

    name: str
    outcome: Outcome
    value: float
    threshold: float
    sentence: str
    required: bool = True
    low: float = math.nan
    high: float = math.nan

    @property
    def passed(self) -> bool:
        """Whether the gate lets the candidate through."""
        return self.outcome == "pass" or (self.outcome == "undecided" and not self.required)

    def to_json(self) -> dict[str, Any]:
        """Return the answer as plain values; an interval that there is not is null."""
        numbers = {name: getattr(self, name) for name in _NUMBERS}
        return {
            "name": self.name, "outcome": self.outcome, "passed": self.passed, "required": self.required,
            "sentence": self.sentence,
            **{name: value if math.isfinite(value) else None for name, value in numbers.items()},
        }  # fmt: skip

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """Return the answer that :meth:`to_json` described."""
        value, threshold, low, high = (math.nan if values[name] is None else values[name] for name in _NUMBERS)
        return cls(
            values["name"], values["outcome"], value, threshold, values["sentence"], values["required"], low, high
        )


@dataclass(frozen=True)
class Verdict:
    """Whether a candidate may be promoted without a person's word, and why.

    Attributes
    ----------
    candidate : str
        Who was judged.
    grade : str
        Of the network kit's scorecard.
    gates : tuple of GateResult
        The answers.
    confirmed : bool
        Whether the deployment set was among them; without it nothing is promoted.
    """

    candidate: str
    grade: str
    gates: tuple[GateResult, ...]
    confirmed: bool = False

    @property
    def clear(self) -> bool:
        """Whether every gate so far lets the candidate through."""
        return all(gate.passed for gate in self.gates)

    @property
    def passed(self) -> bool:
        """Whether the candidate may be promoted."""
        return self.clear and self.confirmed

    @property
    def reasons(self) -> tuple[str, ...]:
        """The sentences of the gates that stop the candidate."""
        return tuple(gate.sentence for gate in self.gates if not gate.passed)

    def joined_by(self, gate: GateResult) -> Verdict:
        """Return the verdict with one more answer about the outer windows."""
        return replace(self, gates=(*self.gates, gate))

    def followed_by(self, gate: GateResult) -> Verdict:
        """Return the verdict with the deployment set's answer."""
        return replace(self, gates=(*self.gates, gate), confirmed=True)

    def to_json(self) -> dict[str, Any]:
        """Return the verdict as plain values."""
        return {
            "candidate": self.candidate,
            "grade": self.grade,
            "passed": self.passed,
            "confirmed": self.confirmed,
            "reasons": list(self.reasons),
            "gates": [gate.to_json() for gate in self.gates],
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """Return the verdict that :meth:`to_json` described."""
        gates = tuple(GateResult.from_json(gate) for gate in values["gates"])
        return cls(values["candidate"], values["grade"], gates, values["confirmed"])

    def rows(self) -> list[dict[str, Any]]:
        """Return the gates as rows of a table."""
        return [
            {"gate": gate.name, "outcome": gate.outcome, "stops": not gate.passed, "found": gate.sentence}
            for gate in self.gates
        ]

    def table(self) -> Table:
        """Return the verdict as a table for a terminal."""
        from rich.table import Table

        outcome = "passed" if self.passed else "refused"
        table = Table("gate", "outcome", "what was found", title=f"{self.candidate}: {outcome}, grade {self.grade}")
        for gate in self.gates:
            table.add_row(gate.name, gate.outcome if gate.passed else gate.outcome.upper(), gate.sentence)
        return table
