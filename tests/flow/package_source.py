"""A source of packages on a local server itself: what is installed there, made again as a newer version."""

from tests.flow.spine import Party, Spine

#: What is put after the first line of a package's postinst.
FAILS = "exit 1\n"
#: The first time, in the middle of dpkg's work.
CUTS_OFF = (
    "test -e /run/was-cut-off || { touch /run/was-cut-off; systemctl kill --signal=KILL penguin-packages.service; }\n"
)
#: Runs as the server's root, with the agent's own code.
_OFFER = """
import hashlib, shutil, subprocess, sys
from pathlib import Path

from agent.packages.repack import repack

name, suffix, postinst, broken = sys.argv[1:]
source, tree = Path("/srv/packages"), Path("/srv/tree")
source.mkdir(exist_ok=True)
repack(name, Path("/srv/present.deb"))
shutil.rmtree(tree, ignore_errors=True)
subprocess.run(["dpkg-deb", "--raw-extract", "/srv/present.deb", tree], check=True)
control = (tree / "DEBIAN/control").read_text()
(present,) = (line for line in control.splitlines() if line.startswith("Version: "))
(tree / "DEBIAN/control").write_text(control.replace(present, present + suffix))
script = tree / "DEBIAN/postinst"
first, rest = script.read_text().split("\\n", 1)
script.write_text(first + "\\n" + postinst + rest)
if broken:
    (tree / broken).write_text("#!/bin/sh\\nexit 1\\n")
subprocess.run(["dpkg-deb", "-Zgzip", "-z1", "--build", tree, source / f"{name}{suffix}.deb"], check=True)
entries = []
for deb in sorted(source.glob("*.deb")):
    told = subprocess.run(["dpkg-deb", "--field", deb], check=True, capture_output=True, text=True).stdout
    content = deb.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    entries.append(f"{told}Filename: ./{deb.name}\\nSize: {len(content)}\\nSHA256: {digest}\\n")
(source / "Packages").write_text("\\n".join(entries))
Path("/etc/apt/sources.list").write_text("deb [trusted=yes] file:/srv/packages ./\\n")
print(present.removeprefix("Version: ") + suffix)
"""


def offer(spine: Spine, party: Party, name: str, suffix: str, *, postinst: str = "", broken: str = "") -> str:
    """Offer a package of a server's once more, with more to its version, and return that.

    `postinst` comes first in its script, and the program at the path `broken` does nothing but fail.
    """
    python = "/opt/penguin-agent/current/bin/python"
    return spine.inside(party, python, "-c", _OFFER, name, suffix, postinst, broken).split()[-1]


def installed(spine: Spine, party: Party, name: str) -> str:
    """Return how a package is there: its version, whether it is whole, and whether it is held."""
    asked = "--showformat=${Version} ${db:Status-Status} ${db:Status-Want}"
    return spine.inside(party, "dpkg-query", "--show", asked, name)
