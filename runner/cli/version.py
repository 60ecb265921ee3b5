"""`--version` for both commands. Runs on: host."""

import click

from runner import __version__

version_option = click.version_option(__version__, message="%(prog)s %(version)s")
