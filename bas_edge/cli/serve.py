"""`bas-edge serve`: cameras on a page in the browser."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from bas_edge._require import require
from bas_edge.cli.options import Json
from bas_edge.cli.output import counted, done_word, print_json

if TYPE_CHECKING:
    from bas_edge.serve import Server
    from bas_edge.video import PipelineStats

__all__ = ["command"]


def command(
    cameras: Annotated[
        Path, typer.Argument(metavar="CAMERAS", help="A cameras.toml: an engine and its cameras.")
    ],
    host: Annotated[
        str | None,
        typer.Option("--host", help="Address to listen on. Default: the file's, or 127.0.0.1."),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option("--port", min=0, max=65535, help="TCP port; 0 takes a free one."),
    ] = None,
    token_file: Annotated[
        Path | None,
        typer.Option(
            "--token-file",
            help="File with the token. Default: the configuration's, BAS_EDGE_TOKEN, or a new one.",
        ),
    ] = None,
    no_token: Annotated[
        bool, typer.Option("--no-token", help="Let everybody on this machine in.")
    ] = False,
    open_metrics: Annotated[
        bool, typer.Option("--open-metrics", help="/metrics needs no token.")
    ] = False,
    open_page: Annotated[bool, typer.Option("--open", help="Show the page in a browser.")] = False,
    json_output: Json = False,
) -> None:
    """Run cameras and show them in the browser, with controls, an API and metrics."""
    from bas_edge.serve import Controls, EventLog, LiveViews, serve
    from bas_edge.serve.from_config import rules_of, serve_options
    from bas_edge.serve.options import is_loopback
    from bas_edge.video.camera_config import read_cameras
    from bas_edge.video.camera_pipeline import open_cameras
    from bas_edge.video.camera_places import at
    from bas_edge.video.sinks.events import Events

    for module in ("uvicorn", "websockets", "starlette", "prometheus_client"):
        require(module, extra="serve", purpose="The server")  # before cameras and engine are opened
    config = read_cameras(cameras)
    with at(f"{config.file}: server"):
        serve_options(config.server, environment={})
    options, made = serve_options(
        config.server,
        host=host,
        port=port,
        token_file=token_file,
        no_token=no_token,
        open_metrics=open_metrics,
    )
    views = LiveViews(EventLog())
    each_camera = iter(config.cameras)  # streams are opened in their order

    def started(server: Server) -> None:
        shown = server.url if made else server.address
        if json_output:
            print_json({"url": shown, "port": server.port, "cameras": len(config.cameras)})
        else:
            print(f"{counted(len(config.cameras), 'camera')} on {shown}", flush=True)
            print("Ctrl-C stops it.", file=sys.stderr)
        if not is_loopback(options.host):
            print(
                "note: the connection is not encrypted, so whoever is in between reads the token: "
                "use a reverse proxy with TLS, or ssh -L (docs/serve.md).",
                file=sys.stderr,
            )
        if open_page:
            stack.enter_context(_in_browser(server.url))

    with ExitStack() as stack:
        pipeline = stack.enter_context(
            open_cameras(
                config,
                more_sinks=lambda _: [
                    views,
                    Events(rules_of(config, next(each_camera)), on_event=views.log.add),
                ],
            )
        )
        controls = Controls(pipeline, Path(config.engine_options.path), views.log)
        serve(pipeline, views, controls, options, started=started)
        _print_summary(pipeline.stats(), pipeline.engine.manifest.task, json_output)


@contextmanager
def _in_browser(url: str) -> Iterator[None]:
    """Open a page through a file that only this user may read.

    Every user of the machine sees the arguments of a browser, and the address holds the token.
    """
    import webbrowser

    with TemporaryDirectory(prefix="bas-edge-") as folder:  # of mode 0700
        file = Path(folder) / "open.html"
        target = escape(url)
        file.write_text(f'<meta http-equiv="refresh" content="0; url={target}">', encoding="utf-8")
        webbrowser.open(file.as_uri())
        yield


def _print_summary(stats: PipelineStats, task: str, as_json: bool) -> None:
    found = sum(lane.found for lane in stats.lanes)
    if as_json:
        summary = {
            "seconds": round(stats.seconds, 1),
            "localized": stats.results,
            "found": found,
            "failures": stats.failures,
            "sinks": [asdict(sink) for sink in stats.sinks],
        }
        print_json({"summary": summary})
        return
    count = counted(stats.results, "frame")
    print(f"{count} {done_word(task)}, an object found in {found}")
    for failure in stats.failures:
        print(f"note: {failure}", file=sys.stderr)
    for sink in stats.sinks:
        if sink.dropped and not sink.failed:
            lost = f"{counted(sink.dropped, 'message')} did not arrive. {sink.problem}"
            print(f"note: {sink.kind}: {lost.strip()}", file=sys.stderr)
