"""`tesela serve`: flags into a configuration, and the configuration to the composition root."""

import os
from pathlib import Path

import click


@click.command("serve")
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    help="Configuration file. Default: tesela.yaml in this folder, if any.",
)
@click.option("--host", help="Address to listen on. Default: 127.0.0.1.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    help="Port to listen on, 0 for a free one. Default: 8787.",
)
@click.option("--workers", type=click.IntRange(1, 256), help="Gateway processes. Default: 1.")
@click.option(
    "--hot-routes/--no-hot-routes",
    default=None,
    help="Take the hot routes before ASGI. Default: on.",
)
@click.option(
    "--home",
    type=click.Path(path_type=Path),
    help="Folder for all state. Default: the user data folder.",
)
def command(
    config: Path | None,
    host: str | None,
    port: int | None,
    workers: int | None,
    hot_routes: bool | None,
    home: Path | None,
) -> int:
    """Serve the models of this machine and those of a configuration file.

    Prints the address, an access token and the lines to export, then runs until Ctrl-C. Every option has a variable
    (TESELA_PORT for --port) and a key in the file (port); the option wins, then the variable.

    \b
    Examples:
      tesela serve
      tesela serve --port 9000
      tesela serve --config tesela.yaml --host 0.0.0.0 --workers 4
    """
    from tesela.config import Config, load

    flags: dict[str, object] = {
        "host": host, "port": port, "workers": workers, "hot_routes": hot_routes, "home": home,
    }  # fmt: skip

    def read() -> Config:
        return load(config, os.environ, flags)

    settings = read()
    # After the configuration, so that a wrong one is told before anything large is imported.
    from tesela import serve

    return serve.run(settings, read)
