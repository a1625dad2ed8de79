"""A server without user-data is made to join by a small Python program, run there as root: pure, from the join data.

It has the pinned authority, a join token and the SHA-256 of the bootstrap, and nothing that it fetches is run before it
is compared with that. The bootstrap gets on its standard input what user-data would have brought (`bootstrap.py join`).

SECURITY: the program holds the token, so whoever reads it first can join as that server, once, until the token expires.
It is given to Python on standard input, for arguments of programs are there for every user of a machine to see.
"""

import hashlib
import json
import shlex

from control_plane.provisioning.cloud_init import BOOTSTRAP_PATH, JoinData

_PROGRAM = """\
import hashlib, json, ssl, subprocess, sys, urllib.request as web
join = json.loads({join})
pinned = web.HTTPSHandler(context=ssl.create_default_context(cadata=join["/etc/penguin/ca.pem"]))
try:
    got = web.build_opener(web.ProxyHandler({{}}), pinned).open({url}, timeout=30).read(1 << 20)
except OSError as error:
    sys.exit(f"penguin: {{error}}: the bootstrap could not be fetched; nothing was changed")
if hashlib.sha256(got).hexdigest() != {sha256}:
    sys.exit("penguin: the bootstrap is not the one that this command was made for; nothing was run")
join[{path}] = got.decode()
sys.exit(subprocess.run([sys.executable, "-c", got, "join"], input=json.dumps(join).encode()).returncode)
"""


def render_join_program(join: JoinData) -> str:
    """Return the program."""
    return _PROGRAM.format(
        join=_quoted(json.dumps(join.files())),
        url=_quoted(f"{join.downloads_url}/bootstrap.py"),
        sha256=_quoted(hashlib.sha256(join.bootstrap_source.encode()).hexdigest()),
        path=_quoted(BOOTSTRAP_PATH),
    )


def render_join_command(join: JoinData) -> str:
    """Return one line for a shell that gives the program to Python."""
    return f"printf %s {shlex.quote(f'exec({_quoted(render_join_program(join))})')} | python3 -"


def _quoted(value: str) -> str:
    """Return a Python literal, ASCII and on one line: a JSON string is one, apart from what JSON need not escape."""
    return json.dumps(value).replace("\x7f", "\\x7f")
