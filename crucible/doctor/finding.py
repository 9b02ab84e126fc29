"""One thing that was looked at: how it is, in a sentence, and the command that mends it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["well", "warning", "broken", "skipped"]


@dataclass(frozen=True)
class Finding:
    """What an examination found.

    Attributes
    ----------
    check : str
        What was looked at, two or three words.
    state : str
        ``well``; ``warning`` (works, and a person should know); ``broken``; ``skipped`` (could not be looked at).
    sentence : str
        What was found.
    mend : str
        The command that mends it; empty where there is nothing to mend.
    """

    check: str
    state: State
    sentence: str
    mend: str = ""
