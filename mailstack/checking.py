"""What a daemon's own validator is asked and what it answered, as values; running it is `apply`'s part."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CommandOutput:
    """How a command ended. Standard output and error are text, undecodable bytes replaced."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def last_words(self) -> str:
        """The last line of what it said, standard error first: the line that usually says why."""
        lines = (self.stderr.strip() or self.stdout.strip()).splitlines()
        return lines[-1].strip() if lines else f"exit status {self.exit_code} without a word"
