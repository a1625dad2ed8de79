"""The wire of a case: requests are counted, and the answer of one of them does not arrive."""

from collections.abc import Mapping

from tests.fakes.hetzner.faults import Fault, Loss, Script


class LosingScript(Script):
    """Counts requests and loses the answer of one of them."""

    def __init__(self, lost: int) -> None:
        super().__init__()
        self.count = 0
        self._lost = lost

    def take(self, method: str, path: str, body: Mapping[str, object]) -> Fault | None:
        self.count += 1
        return Fault(method, path, lose=Loss.CLOSED) if self.count - 1 == self._lost else None
