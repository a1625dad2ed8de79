"""`protos`: the code generated from the wire contract, and whether what is committed is what would be generated."""

import subprocess
import sys
import tempfile
from pathlib import Path

from control_plane.cli.output import say
from control_plane.errors import PenguinError
from control_plane.processes.places import CHECKOUT

_FOLDERS = ("protos/agent/v1", "protos/prometheus/v1", "protos/queue/v1")
#: Those that have services.
_SERVICES = ("protos/agent/v1/enrolment.proto", "protos/agent/v1/link.proto")
#: What writes the types; found beside our Python.
_PLUGINS = ("protoc-gen-mypy", "protoc-gen-mypy_grpc")


class GeneratorFailed(PenguinError):
    """The generator refused a .proto file; its words are above."""


def protos() -> None:
    """Generate the code for protos/ anew."""
    generate(CHECKOUT)
    say(f"generated the code for {' and '.join(_FOLDERS)}")


def generate(into: Path) -> None:
    """Write the generated modules and their types below `into`; raise `GeneratorFailed`."""
    files = sorted(
        str(path.relative_to(CHECKOUT)) for folder in _FOLDERS for path in (CHECKOUT / folder).glob("*.proto")
    )
    _protoc(f"--python_out={into}", f"--mypy_out=quiet:{into}", *files)
    _protoc(f"--grpc_python_out={into}", f"--mypy_grpc_out=quiet:{into}", *_SERVICES)


def stale(root: Path = CHECKOUT) -> list[str]:
    """Return the generated files below `root` that differ from what the generator makes, or are missing or too many."""
    with tempfile.TemporaryDirectory(prefix="penguin-protos-") as folder:
        generate(Path(folder))
        fresh, committed = _generated(Path(folder)), _generated(root)
    return sorted(name for name in fresh.keys() | committed.keys() if fresh.get(name) != committed.get(name))


def _generated(root: Path) -> dict[str, bytes]:
    paths = (
        path for folder in _FOLDERS for path in (root / folder).glob("*_pb2*.py*") if path.suffix in (".py", ".pyi")
    )
    return {str(path.relative_to(root)): path.read_bytes() for path in paths}


def _protoc(*arguments: str) -> None:
    programs = Path(sys.executable).parent
    plugins = [f"--plugin={programs / name}" for name in _PLUGINS]
    command = [sys.executable, "-m", "grpc_tools.protoc", "-I", ".", *plugins, *arguments]
    if subprocess.run(command, cwd=CHECKOUT, check=False).returncode != 0:
        raise GeneratorFailed("protoc refused a .proto file; its words are above")
