"""The command line: the outermost layer, which turns flags into calls and errors into one sentence and an exit code.

Exit codes: 0 done, 1 something failed, 2 the command or the configuration is wrong, 130 ended by Ctrl-C.  Nothing
heavy is imported before the command that needs it is known.
"""

import os
import sys
from collections.abc import Sequence

import click

from tesela.cli.commands import tesela
from tesela.errors import ConfigError, TeselaError

FAILED = 1
MISUSED = 2
INTERRUPTED = 130


def main() -> None:
    """The entry point of the `tesela` script."""
    _replace_closed_streams()
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Runs one command line and gives its exit code."""
    try:
        result = tesela.main(list(arguments), prog_name="tesela", standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output left.
        _drop_output()
        return FAILED
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        click.echo(f"tesela: {error.strerror or error}{where}", err=True)
        _drop_output()
        return FAILED
    except TeselaError as error:
        click.echo(f"tesela: {error.message}", err=True)
        return MISUSED if isinstance(error, ConfigError) else FAILED
    return result if isinstance(result, int) else 0


def _drop_output() -> None:
    """The interpreter flushes once more on its way out: give it somewhere to."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _replace_closed_streams() -> None:
    """A standard stream that was closed before we began (`<&-`) is None: put one there that gives and keeps nothing."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            descriptor = os.open(os.devnull, os.O_RDWR)
            setattr(sys, name, os.fdopen(descriptor, mode, encoding="utf-8", closefd=False))
