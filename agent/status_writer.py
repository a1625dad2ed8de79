"""Small files by which programs of root's tell the network half how they fare: readable by all, so without secrets."""

import dataclasses
import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_MODE = 0o644


def write_status(path: Path, status: "DataclassInstance") -> None:
    """Replace the file, whole."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(dataclasses.asdict(status), file)
        os.fchmod(file.fileno(), _MODE)
    Path(name).replace(path)
