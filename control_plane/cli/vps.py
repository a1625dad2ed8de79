"""`vps`: servers, one by one."""

import typer

vps_commands = typer.Typer(no_args_is_help=True, help="Servers: power, drain, undrain, remove.")
