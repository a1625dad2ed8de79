"""The `penguin` command; the script at the top of the checkout gets its environment and starts it.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 the machine lacks something (the script), 4 no installation runs. What
goes wrong in an expected way is one line on standard error.
"""

import sys
from typing import Annotated

import typer

from control_plane.cli.alerts import alert_commands
from control_plane.cli.audit import audit_commands
from control_plane.cli.backup import backup_commands
from control_plane.cli.bench import bench
from control_plane.cli.client import client
from control_plane.cli.database import database_commands
from control_plane.cli.demo import run_demo
from control_plane.cli.deploy import deploy_commands
from control_plane.cli.doctor import doctor
from control_plane.cli.domains import domain_commands
from control_plane.cli.fleet import fleet_commands
from control_plane.cli.gdpr import gdpr_commands
from control_plane.cli.inbox import inbox_commands
from control_plane.cli.installation import NoInstallation
from control_plane.cli.ip_pools import pool_commands
from control_plane.cli.isolation import isolation_commands
from control_plane.cli.keys import signing_commands
from control_plane.cli.lock import lock
from control_plane.cli.node import node_commands
from control_plane.cli.operator_keys import operator_key_commands
from control_plane.cli.output import FAILED, NO_INSTALLATION, Json, say
from control_plane.cli.plans import plan_commands
from control_plane.cli.preflight import preflight
from control_plane.cli.protos import protos
from control_plane.cli.providers import provider_commands
from control_plane.cli.queue import queue_commands
from control_plane.cli.releases import release_commands
from control_plane.cli.simulate import simulate_commands
from control_plane.cli.suppressions import suppression_commands
from control_plane.cli.tenants import key_commands, tenant_commands, workspace_commands
from control_plane.cli.test import check_and_test
from control_plane.cli.up import down, up
from control_plane.cli.vps import vps_commands
from control_plane.cli.vps_commands import command
from control_plane.cli.vps_deeds import vps_deed_commands
from control_plane.embedded.daemon import EmbeddedFailed
from control_plane.enrolment.wheelhouse import WheelhouseFailed
from control_plane.errors import PenguinError
from control_plane.providers.base import ProviderError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Run your own mail-sending infrastructure.",
)
app.command()(up)
app.command()(down)
app.add_typer(fleet_commands, name="fleet")
app.add_typer(alert_commands, name="alerts")
app.add_typer(release_commands, name="release")
app.command()(doctor)
app.add_typer(queue_commands, name="queue")
vps_commands.add_typer(vps_deed_commands)
vps_commands.command()(preflight)
vps_commands.command()(command)
app.add_typer(vps_commands, name="vps")
app.add_typer(provider_commands, name="provider")
app.add_typer(node_commands, name="node")
app.add_typer(inbox_commands, name="inbox")
app.add_typer(pool_commands, name="pool")
app.add_typer(domain_commands, name="domain")
tenant_commands.add_typer(isolation_commands)
app.add_typer(tenant_commands, name="tenant")
app.add_typer(plan_commands, name="plan")
app.add_typer(workspace_commands, name="workspace")
app.add_typer(key_commands, name="api-key")
app.add_typer(operator_key_commands, name="operator-key")
app.add_typer(signing_commands, name="keys")
app.add_typer(audit_commands, name="audit")
app.add_typer(suppression_commands, name="suppression")
app.add_typer(gdpr_commands, name="gdpr")
app.add_typer(backup_commands, name="backup")
app.add_typer(database_commands, name="database")
app.add_typer(deploy_commands, name="deploy")
app.command("test", context_settings={"ignore_unknown_options": True})(check_and_test)
app.command()(bench)
app.add_typer(simulate_commands, name="simulate")
app.command()(lock)
app.command()(client)
app.command()(protos)


@app.command()
def demo(
    once: Annotated[bool, typer.Option("--once", help="Take everything down again afterwards.")] = False,
    as_json: Json = False,
) -> None:
    """Make two local mail servers, send mail through the API, and show what became of it."""
    sys.exit(run_demo(once=once, json=as_json))


def main() -> None:
    """Run the command line."""
    try:
        app(prog_name="penguin")
    except NoInstallation as error:
        say(error.detail)
        sys.exit(NO_INSTALLATION)
    except (PenguinError, EmbeddedFailed, ProviderError, WheelhouseFailed) as error:
        say(" | ".join(str(error).splitlines()))
        sys.exit(FAILED)


if __name__ == "__main__":
    main()
