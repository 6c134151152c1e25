"""gitdags serve: pages and API."""

from __future__ import annotations

import argparse
import gc
import socket

from gitdags.cli.context import Context
from gitdags.errors import GitdagsError, shown


class CannotServe(GitdagsError):
    """The address is taken, or not ours."""


class NoWeb(GitdagsError):
    """The libraries of the web are not installed."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Its words."""
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen at; default: 127.0.0.1"
    )
    parser.add_argument("--port", type=int, default=8088, help="default: 8088; 0: any that is free")
    parser.add_argument(
        "--no-auth", action="store_true", help="on an address that others reach, let anybody read"
    )
    parser.add_argument(
        "--root-path", default="", metavar="/PREFIX", help="prefix that a proxy serves this under"
    )


def run(context: Context, args: argparse.Namespace) -> int:
    """Serve until told to end. The address is the one line on stdout."""
    try:
        import uvicorn

        from gitdags.web import access, app, logs
    except ModuleNotFoundError as error:
        raise NoWeb(f"{error.name} is not installed", hint="pip install 'gitdags[web]'") from None

    settings = context.settings
    local = access.is_loopback(args.host)
    rules = access.Access.of(settings, local=local, free=args.no_auth)
    access.refuse_open(rules, context.catalog.has_tokens(), args.host)
    logs.configure(context.verbosity)
    # A full collection looks at every kept tree and commit: 0.2 s in which nobody is answered. One in
    # tens of thousands of requests is enough, as next to nothing here refers to itself.
    gc.set_threshold(20_000, 20, 500)
    application = app.create(settings, rules, drain=True)
    listener = _listen(args.host, args.port)
    host, port = listener.getsockname()[:2]
    shown_host = f"[{host}]" if ":" in host else host
    print(f"http://{shown_host}:{port}{args.root_path}/", flush=True)
    server = uvicorn.Server(
        uvicorn.Config(
            application,
            root_path=args.root_path.rstrip("/"),
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=5,
        )
    )
    server.run(sockets=[listener])
    return 0


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(1_024)
    except (OSError, OverflowError) as error:
        listener.close()
        reason = getattr(error, "strerror", None) or str(error)
        raise CannotServe(
            f"cannot listen at {shown(host)}:{port}: {reason}", hint="gitdags serve --port 0"
        ) from None
    return listener
