"""`cameras.toml`: an engine, its cameras, and where their results go."""

from __future__ import annotations

import os
import re
import sys
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec

from bas_edge.errors import InputError
from bas_edge.video.camera_places import at, explained, item
from bas_edge.video.camera_sinks import SinkConfig
from bas_edge.video.sources.frame_queue import Policy
from bas_edge.video.sources.live_capture import HardwareDecode, LiveOptions
from bas_edge.video.sources.pacing import StreamOptions
from bas_edge.video.sources.reconnect import Reconnect
from bas_edge.video.steady.smoothing import Smoothing

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = [
    "CameraConfig",
    "CamerasConfig",
    "ReconnectConfig",
    "ServerConfig",
    "read_cameras",
]

_LIMIT_BYTES = 1 << 20
_T = TypeVar("_T", bound=msgspec.Struct)
_VARIABLE = re.compile(r"\$(?:\$|\{(\w+)\})")


class ReconnectConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """See `Reconnect`. By default nothing is given up: nobody sits at the device."""

    first_s: float = 1.0
    factor: float = 2.0
    longest_s: float = 60.0
    jitter: float = 0.5
    attempts: int | None = None
    always: bool = True

    def __post_init__(self) -> None:
        self.reconnect()

    def reconnect(self) -> Reconnect:
        """What it says; refused is what `Reconnect` refuses."""
        return Reconnect(**msgspec.structs.asdict(self))


class LiveConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """See `LiveOptions`."""

    connect_s: float = 10.0
    silence_s: float = 10.0
    transport: Literal["tcp", "udp"] = "tcp"
    hardware: HardwareDecode = "auto"
    options: dict[str, str] = {}

    def __post_init__(self) -> None:
        self.live()

    def live(self) -> LiveOptions:
        """What it says; refused is what `LiveOptions` refuses."""
        values = msgspec.structs.asdict(self)
        return LiveOptions(**values | {"options": tuple(self.options.items())})


class SmoothingConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """See `Smoothing`."""

    map_time_s: float | None = None
    motion: bool | None = None
    min_cutoff_hz: float | None = None
    beta: float | None = None
    class_time_s: float | None = None
    class_margin: float | None = None
    release: float | None = None
    hold_s: float | None = None
    cut: float | None = None
    forget_s: float | None = None

    def __post_init__(self) -> None:
        self.smoothing()

    def smoothing(self) -> Smoothing:
        """What it says; refused is what `Smoothing` refuses."""
        given = {k: v for k, v in msgspec.structs.asdict(self).items() if v is not None}
        return Smoothing(**given)


class CameraConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One camera; see `open_source` for what is not said here.

    Attributes:
        name: For results and the page; by default made of the source.
        source: Its address. ${NAME} is the environment variable NAME, for passwords.
        smooth: A preset, or a table of `Smoothing`'s options; None is "light" where there are
            boxes to smooth.
        sinks: Where its results go, besides the sinks of all cameras.
    """

    name: str = ""
    source: str
    policy: Policy | None = None
    depth: int | None = None
    stride: int = 1
    max_fps: float | None = None
    realtime: bool | None = None
    loop: bool = False
    stall_s: float = 2.0
    fps: float = 25.0
    smooth: str | SmoothingConfig | None = None
    live: LiveConfig = LiveConfig()
    reconnect: ReconnectConfig = ReconnectConfig()
    sinks: tuple[SinkConfig, ...] = msgspec.field(name="sink", default=())

    def __post_init__(self) -> None:
        self.smoothing()
        StreamOptions(
            policy=self.policy or "wait",
            depth=self.depth,
            stride=self.stride,
            max_fps=self.max_fps,
            stall_s=self.stall_s,
            silence_s=max(self.stall_s, self.live.silence_s),
        )

    def smoothing(self) -> Smoothing | None:
        """How its results are smoothed; None leaves it to the kind of engine."""
        if self.smooth is None:
            return None
        if isinstance(self.smooth, str):
            return Smoothing.named(self.smooth)
        return self.smooth.smoothing()


class EngineConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How the engine is opened; see `Localizer`. None is the engine's own."""

    path: str
    backend: str = "auto"
    threads: int | None = None
    threshold: float | None = None
    top_k: int | None = None
    min_score: float | None = None
    max_boxes: int = 1


class ServerConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How the page is served; `ServeOptions` checks it.

    Attributes:
        host: Address to listen on; another one than this machine itself is a choice to make.
        port: 0 takes any that is free.
        token: What clients must know; None makes a new one at each start. ${NAME} is the
            environment variable NAME.
        max_clients: So many look on at once.
        max_view_fps: So many pictures a second a client gets at most.
        allowed_hosts: Names by which the page may be asked for, besides its own address.
        open_metrics: `/metrics` needs no token.
        trusted_proxies: Addresses whose X-Forwarded-For says whom a request comes from.
    """

    host: str = "127.0.0.1"
    port: int = 8765
    token: str | None = None
    max_clients: int = 8
    max_view_fps: float = 15.0
    allowed_hosts: tuple[str, ...] = ()
    open_metrics: bool = False
    trusted_proxies: tuple[str, ...] = ()


class _Tables(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    engine: EngineConfig | str
    output: str = "out"
    server: ServerConfig = ServerConfig()
    cameras: tuple[CameraConfig, ...] = msgspec.field(name="camera")
    sinks: tuple[SinkConfig, ...] = msgspec.field(name="sink", default=())
    defaults: dict[str, Any] = {}


class CamerasConfig(_Tables, frozen=True, kw_only=True):
    """A whole file.

    Attributes:
        engine: The engine, or a table with its path and options.
        output: The folder that sinks write to, from the file's own folder.
        cameras: At least one.
        sinks: Where the results of all cameras go.
        defaults: What `cameras` have that they did not say otherwise.
        file: The file itself; what is relative in it begins at its folder.
    """

    file: str

    @property
    def folder(self) -> Path:
        """Where the file lies."""
        return Path(self.file).resolve().parent

    @property
    def engine_options(self) -> EngineConfig:
        """The engine as a table, its path made absolute."""
        table = EngineConfig(path=self.engine) if isinstance(self.engine, str) else self.engine
        return msgspec.structs.replace(table, path=str(self.folder / table.path))

    @property
    def output_folder(self) -> Path:
        """The folder that sinks write to."""
        return self.folder / self.output


def read_cameras(path: str | os.PathLike[str]) -> CamerasConfig:
    """Read and check a `cameras.toml`; nothing is opened yet.

    `[defaults]` holds what every camera has that does not say otherwise.

    Raises:
        InputError: No such file, not TOML, an unknown key, a value of the wrong kind or out of
            range, or an environment variable that is not set. The message names the place.
    """
    file = Path(path)
    try:
        if file.stat().st_size > _LIMIT_BYTES:
            raise InputError(f"{file} has {file.stat().st_size:,} bytes: that is no cameras.toml.")
        parsed = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{file} is not TOML: {error}.") from None
    with at(str(file)):
        content = _with_variables(parsed, "")
        content["camera"] = _with_defaults(content)
        tables = _converted(content, _Tables)
    if not tables.cameras:
        raise InputError(f"{file} names no camera.", hint='Add [[camera]] with source = "…".')
    return CamerasConfig(file=str(file), **msgspec.structs.asdict(tables))


def _converted(content: Any, kind: type[_T]) -> _T:
    try:
        return msgspec.convert(content, kind)
    except msgspec.ValidationError as error:
        raise explained(error, content, kind) from None


def _with_defaults(content: dict[str, Any]) -> Any:
    defaults, cameras = content.get("defaults", {}), content.get("camera", [])
    if not isinstance(defaults, dict) or not isinstance(cameras, list):
        raise InputError(
            "[defaults] is one table and [[camera]] a list of them.",
            hint="Write [[camera]] with two brackets.",
        )
    with at("[defaults]"):  # else the first camera would be blamed
        _converted({"source": "", **defaults}, CameraConfig)
    return [{**defaults, **one} if isinstance(one, dict) else one for one in cameras]


def _with_variables(value: Any, where: str) -> Any:
    """`value` with ${NAME} in its texts replaced, however deep; $$ is one $."""
    if isinstance(value, dict):
        start = f"{where}, " if where else ""
        return {key: _with_variables(each, f"{start}{key}") for key, each in value.items()}
    if isinstance(value, list):
        before, _, key = where.rpartition(", ")
        start = f"{before}, " if before else ""
        return [
            _with_variables(each, start + item(key, number, each))
            for number, each in enumerate(value)
        ]
    return _VARIABLE.sub(partial(_variable, where), value) if isinstance(value, str) else value


def _variable(where: str, found: re.Match[str]) -> str:
    name = found[1]
    if name is None:
        return "$"
    if name not in os.environ:
        raise InputError(
            f"{where}: there is no environment variable {name}, which ${{{name}}} stands for.",
            hint=f"Set it before the start: export {name}=…",
        )
    return os.environ[name]
