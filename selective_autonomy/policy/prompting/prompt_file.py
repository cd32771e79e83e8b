"""A process's prompt as a file: what the model is told before the case, a line `---`, and what it is told about it.

Names after a dollar sign are filled in, once: a customer who writes `$$actions` writes just that.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from string import Template

from selective_autonomy.errors import ModelError

PLACES = ("procedures", "actions", "log", "screen")
_BETWEEN = "\n---\n"

Messages = list[dict[str, str]]  # role and content, as chat models take them


@dataclass(frozen=True, slots=True)
class PromptFile:
    """The two halves of a prompt: `system` holds what changes least, `user` the case, so that the start is reusable."""

    system: str
    user: str

    @classmethod
    def read(cls, path: Path) -> PromptFile:
        """Read and check a prompt file.

        Raises:
            ModelError: it is missing, has not exactly two halves, or does not use each place once.
        """
        try:
            text = path.read_text(encoding="utf-8")
        except OSError as err:
            raise ModelError(f"cannot read the prompt {path}: {err}; give a file such as data/prompts/star.md") from err
        halves = text.split(_BETWEEN)
        names = sorted(name for half in halves for name in Template(half).get_identifiers())
        used_twice = any(text.count(f"${name}") > 1 for name in PLACES)
        if len(halves) != 2 or names != sorted(PLACES) or used_twice or not Template(text).is_valid():
            raise ModelError(
                f"prompt {path} has {len(halves)} parts and the places {names}; expected two parts with a line '---' "
                f"between them and each of {[f'${name}' for name in PLACES]} once"
            )
        return cls(halves[0].strip(), halves[1].strip())

    def messages(self, **parts: str) -> Messages:
        """The chat messages with every place filled."""
        return [
            {"role": "system", "content": Template(self.system).substitute(parts)},
            {"role": "user", "content": Template(self.user).substitute(parts)},
        ]

    def write(self, path: Path) -> None:
        """Write the file that `read` reads back."""
        path.write_text(f"{self.system}{_BETWEEN}{self.user}\n", encoding="utf-8")
