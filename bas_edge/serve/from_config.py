"""What a `cameras.toml` says about the server, and the event rules of its cameras."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from bas_edge.errors import InputError
from bas_edge.serve.options import ServeOptions, new_token
from bas_edge.video.camera_config import CameraConfig, CamerasConfig, ServerConfig
from bas_edge.video.camera_sinks import ClipsConfig, EventsConfig
from bas_edge.video.sinks.event_rules import EventRule

__all__ = ["TOKEN_VARIABLE", "rules_of", "serve_options"]

TOKEN_VARIABLE = "BAS_EDGE_TOKEN"


def serve_options(
    server: ServerConfig,
    *,
    host: str | None = None,
    port: int | None = None,
    token_file: Path | None = None,
    no_token: bool = False,
    open_metrics: bool = False,
    environment: Mapping[str, str] = os.environ,
) -> tuple[ServeOptions, bool]:
    """The server's options, and whether the token was made here, so that nobody knows it yet.

    The token is that of `token_file`, of the configuration, or of the environment variable
    BAS_EDGE_TOKEN, the first there is, and otherwise a new one.

    Args:
        server: What the configuration says.
        host, port, token_file, no_token: What the command line says, which counts more.
        open_metrics: The command line opens `/metrics`, whatever the configuration says.
        environment: The environment variables.

    Raises:
        InputError: The token cannot be read, or an option is out of range.
    """
    token: str | None = None
    made = False
    if no_token and token_file is not None:
        raise InputError(
            f"--no-token and --token-file {token_file} contradict each other.",
            hint="Leave out one of them.",
        )
    if not no_token:
        given = (_from_file(token_file), server.token, environment.get(TOKEN_VARIABLE))
        token = next((each.strip() for each in given if each is not None and each.strip()), None)
        made = token is None
    options = ServeOptions(
        host=server.host if host is None else host,
        port=server.port if port is None else port,
        token=new_token() if made else token,
        max_clients=server.max_clients,
        max_view_fps=server.max_view_fps,
        allowed_hosts=server.allowed_hosts,
        open_metrics=open_metrics or server.open_metrics,
        trusted_proxies=server.trusted_proxies,
    )
    return options, made


def rules_of(config: CamerasConfig, camera: CameraConfig) -> Iterator[EventRule]:
    """The event rules that the sinks of one camera have, each once."""
    seen = set()
    for sink in (*config.sinks, *camera.sinks):
        for rule in sink.rules if isinstance(sink, ClipsConfig | EventsConfig) else ():
            made = EventRule(**msgspec.structs.asdict(rule))
            if made not in seen:
                seen.add(made)
                yield made


def _from_file(path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        token = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise InputError(f"The token file {path} cannot be read: {reason}.") from None
    if not token:
        raise InputError(f"The token file {path} is empty.", hint="Put one line into it.")
    return token
