"""From an engine to what runs it."""

from __future__ import annotations

from bas_edge.backends import open_backend
from bas_edge.engine.bundle import Engine
from bas_edge.engine.contract import check_graph
from bas_edge.host_runner import HostRunner
from bas_edge.runner import Runner, RunOptions

__all__ = ["open_runner"]


def open_runner(
    engine: Engine, options: RunOptions, *, backend: str = "auto", threads: int | None = None
) -> Runner:
    """Load the engine with a backend and hold its graph against the manifest.

    Raises:
        InputError: Unknown backend, or `threads` is not positive.
        EngineError: The graph breaks the contract.
        BackendError: The backend is not in this version, or refuses the graph.
    """
    opened = open_backend(backend, engine.model_path, threads=threads)
    try:
        check_graph(opened.inputs, opened.outputs, options.manifest)
    except BaseException:
        opened.close()
        raise
    return HostRunner(opened, options)
