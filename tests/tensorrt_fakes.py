"""Modules with exactly the attributes of one TensorRT version, to hold the code against.

`tensorrt_apis.json` was recorded from the Python bindings of 8.6.1, 10.3.0 and 11.4 themselves.
Reading or setting a name that a version does not have raises AttributeError, as it does there; a
name that it has but that no test needed yet fails as an assertion.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

APIS = json.loads((Path(__file__).parent / "tensorrt_apis.json").read_text(encoding="utf-8"))
VERSIONS = tuple(APIS)  # 8.6.1, 10.3.0, 11.4.0.106
GENERATIONS = {"8.6": "8.6.1", "10": "10.3.0", "11": "11.4.0.106"}


class Strict:
    """An object of class `kind` that has the attributes of that class in one version."""

    def __init__(self, api: dict[str, Any], kind: str, **members: Any) -> None:
        unknown = set(members) - set(api["classes"][kind])
        assert not unknown, f"the fake {kind} has more than the real one: {unknown}"
        self.__dict__.update(_names=api["classes"][kind], _kind=kind, _members=members)

    def __getattr__(self, name: str) -> Any:
        if name not in self._names:
            raise AttributeError(f"'{self._kind}' object has no attribute '{name}'")
        assert name in self._members, f"the fake has no {self._kind}.{name} yet"
        return self._members[name]

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in self._names:
            raise AttributeError(f"'{self._kind}' object has no attribute '{name}'")
        self._members[name] = value


@dataclass
class Script:
    """What the fake library is to do, and what was asked of it.

    Attributes:
        outcomes: For each call of build_serialized_network: a plan, what makes it from the parsed
            file, or the lines to log before giving None.
        parser_errors: (node, name, operator, description) of each; any makes parsing fail.
        phases: What the progress monitor hears: (name, parent, steps).
        default_workspace: What the pool limit is before it is set.
        cache_matches: Whether a timing cache that is not empty is taken.
    """

    outcomes: list[bytes | Callable[[Path], bytes] | list[str]] = field(
        default_factory=lambda: [b"ftrt" + bytes(100)]
    )
    parser_errors: list[tuple[int, str, str, str]] = field(default_factory=list)
    phases: list[tuple[str, str | None, int]] = field(default_factory=list)
    default_workspace: int = 8 << 30
    cache_matches: bool = True
    inputs: tuple[str, ...] = ("frames",)
    parsed: Path | None = None
    network_flags: int | None = None
    builder_flags: list[str] = field(default_factory=list)
    workspaces: list[int] = field(default_factory=list)
    previews: list[str] = field(default_factory=list)
    profiles: list[tuple[Any, ...]] = field(default_factory=list)
    caches: list[bytes] = field(default_factory=list)
    config: Any = None
    network: Any = None
    layers: list[Any] = field(default_factory=list)
    loaded: list[bytes] = field(default_factory=list)
    runtime: Any = None
    engine: Any = None
    deserialize: Callable[[bytes, Any], Any] | None = None  # makes `engine`; gets plan and logger


def make(version: str, script: Script) -> ModuleType:
    """A module like `tensorrt` of `version`, one of VERSIONS, that follows `script`."""
    api = APIS[version]
    members: dict[str, Any] = {"__version__": version}
    for name, values in api["enums"].items():
        members[name] = enum.IntEnum(name, values)
    for name in ("ILogger", "IProgressMonitor"):
        if name in api["classes"]:
            members[name] = type(name, (), {})
    members["float32"], members["float16"] = "float32", "float16"
    members["Builder"] = lambda logger: _builder(api, members, script, logger)
    members["OnnxParser"] = lambda network, logger: _parser(api, script, network, logger)
    members["Runtime"] = lambda logger: _runtime(api, script, logger)
    known = {*api["module"], "__version__"}
    assert set(members) <= known, f"TensorRT {version} has no {set(members) - known}"
    return _Module(version, known, members)


class _Module(ModuleType):
    def __init__(self, version: str, known: set[str], members: dict[str, Any]) -> None:
        super().__init__("tensorrt", f"TensorRT {version}, pretended")
        self.__dict__.update(members)
        self.__dict__["_known"] = known

    def __getattr__(self, name: str) -> Any:
        if name not in self.__dict__["_known"]:
            raise AttributeError(f"module 'tensorrt' has no attribute '{name}'")
        raise AssertionError(f"the fake has no tensorrt.{name} yet")


def _log(logger: Any, lines: list[str]) -> None:
    for line in lines:
        logger.log(SimpleNamespace(name="ERROR"), line)


def _builder(api: dict[str, Any], module: dict[str, Any], script: Script, logger: Any) -> Strict:
    def create_network(flags: int = 0) -> Strict:
        creation = api["enums"]["NetworkDefinitionCreationFlag"]
        if "STRONGLY_TYPED" not in creation:
            assert flags & 1 << creation["EXPLICIT_BATCH"], (
                "8.6 takes ONNX with EXPLICIT_BATCH only"
            )
        known = sum(1 << value for value in creation.values())
        assert not flags & ~known, f"unknown flags {flags:#x}"
        script.network_flags = flags
        script.network = _network(api, module, script)
        return script.network

    def create_builder_config() -> Strict:
        script.config = _config(api, script)
        return script.config

    def create_optimization_profile() -> Strict:
        return Strict(
            api, "IOptimizationProfile", set_shape=lambda *shapes: script.profiles.append(shapes)
        )

    def build_serialized_network(network: Any, config: Any) -> Any:
        assert network is script.network
        monitor = config._members.get("progress_monitor")
        outcome = script.outcomes.pop(0)
        if monitor is not None and not _play(script.phases, monitor):
            return None
        if isinstance(outcome, bytes):
            return outcome
        if callable(outcome):
            assert script.parsed is not None
            return outcome(script.parsed)
        _log(logger, outcome)
        return None

    return Strict(
        api,
        "Builder",
        create_network=create_network,
        create_builder_config=create_builder_config,
        create_optimization_profile=create_optimization_profile,
        build_serialized_network=build_serialized_network,
    )


def _play(phases: list[tuple[str, str | None, int]], monitor: Any) -> bool:
    """Nested phases, one inside the other; False as soon as the monitor says stop."""
    for name, parent, steps in phases:
        monitor.phase_start(name, parent, steps)
    for name, _, steps in reversed(phases):
        for at in range(steps):
            if not monitor.step_complete(name, at):
                return False
        monitor.phase_finish(name)
    return True


def _network(api: dict[str, Any], module: dict[str, Any], script: Script) -> Strict:
    def tensor(dtype: str) -> Strict:
        return Strict(api, "ITensor", name="t", dtype=dtype, shape=(1,))

    def layer(kind: str, dtype: str) -> Strict:
        output = tensor(dtype)
        return Strict(
            api,
            "ILayer",
            type=module["LayerType"][kind],
            num_outputs=1,
            get_output=lambda _: output,
        )

    script.layers = [
        layer("CONSTANT", "float32"),
        layer("CONVOLUTION", "float16"),
        layer("ACTIVATION", "float32"),
    ]
    inputs = [Strict(api, "ITensor", name=name, shape=(-1, 8, 8, 3)) for name in script.inputs]
    return Strict(
        api,
        "INetworkDefinition",
        num_inputs=len(inputs),
        get_input=lambda at: inputs[at],
        num_layers=len(script.layers),
        get_layer=lambda at: script.layers[at],
    )


def _parser(api: dict[str, Any], script: Script, network: Any, logger: Any) -> Strict:
    def error(node: int, name: str, operator: str, text: str) -> Strict:
        known = api["classes"]["ParserError"]
        said: dict[str, Callable[[], Any]] = {
            "node": lambda: node,
            "node_name": lambda: name,
            "node_operator": lambda: operator,
            "desc": lambda: text,
        }
        return Strict(api, "ParserError", **{k: v for k, v in said.items() if k in known})

    def parse(path: str) -> bool:
        script.parsed = Path(path)
        return not errors

    assert network is script.network
    assert logger is not None
    errors = [error(*each) for each in script.parser_errors]
    return Strict(
        api,
        "OnnxParser",
        parse_from_file=parse,
        num_errors=len(errors),
        get_error=lambda at: errors[at],
    )


def _config(api: dict[str, Any], script: Script) -> Strict:
    limits = [script.default_workspace]

    def set_limit(_: Any, size: int) -> None:
        limits[0] = size
        script.workspaces.append(size)

    def cache(content: bytes) -> Strict:
        return Strict(api, "ITimingCache", serialize=lambda: content + b"+")

    def set_cache(given: Any, ignore_mismatch: bool) -> bool:
        assert not ignore_mismatch
        content = given.serialize()[:-1]
        script.caches.append(content)
        return script.cache_matches or not content

    def add_profile(_: Any) -> int:
        return len(script.profiles) - 1

    return Strict(
        api,
        "IBuilderConfig",
        set_memory_pool_limit=set_limit,
        get_memory_pool_limit=lambda _: limits[0],
        add_optimization_profile=add_profile,
        set_preview_feature=lambda feature, on: script.previews.append(f"{feature.name}={on}"),
        set_flag=lambda flag: script.builder_flags.append(flag.name),
        create_timing_cache=cache,
        set_timing_cache=set_cache,
        get_timing_cache=lambda: cache(script.caches[-1]),
    )


def _runtime(api: dict[str, Any], script: Script, logger: Any) -> Strict:
    def deserialize(plan: bytes) -> Any:
        assert script.runtime.engine_host_code_allowed is False
        script.loaded.append(plan)
        if script.deserialize is not None:
            script.engine = script.deserialize(plan, logger)
        if script.engine is None:
            _log(logger, ["6: The engine plan file is not compatible with this version."])
        return script.engine

    script.runtime = Strict(
        api, "Runtime", deserialize_cuda_engine=deserialize, engine_host_code_allowed=True
    )
    return script.runtime
