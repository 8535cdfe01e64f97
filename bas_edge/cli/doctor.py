"""`bas-edge doctor`: what is installed here, what works, and what to do about the rest."""

from __future__ import annotations

from bas_edge.cli.options import Json
from bas_edge.cli.output import print_json, print_rows
from bas_edge.errors import BasEdgeError

__all__ = ["command"]


def command(json_output: Json = False) -> None:
    """Show what is installed, which backends work here, and why the others do not."""
    from bas_edge.doctor import diagnose

    state = diagnose()
    if json_output:
        print_json(state)
    else:
        print(f"bas-edge {state.version}, Python {state.python}")
        machine = state.machine
        print("\nMachine")
        print_rows(
            (key.replace("_", " "), _text(machine[key]))
            for key in ("platform", "cpu", "cpu_features", "cores", "governor", "power_mode")
            if key in machine
        )
        print("\nPackages")
        print_rows(
            (
                package.name,
                package.version or "-",
                ""
                if package.version or package.extra is None
                else f"pip install 'bas-edge[{package.extra}]'",
            )
            for package in state.packages
        )
        print("\nNative operators")
        print_rows([("path", state.ops or "cannot be loaded"), ("CUDA", state.cuda)])
        print("\nGPU")
        print_rows([("CUDA driver", state.cuda_driver)])
        print("\nBackends")
        print_rows(
            (each.name, f"works ({each.version})" if each.available else f"no: {each.reason}")
            for each in state.backends
        )
        print("\nVideo")
        print_rows(
            [("encoders", ", ".join(state.video) or "none"), ("OpenCV", state.opencv or "none")]
        )
        print("\nFree disk")
        print_rows((folder, f"{free:.1f} GB") for folder, free in state.disk_free_gb.items())
        for note in state.notes:
            print(f"\nnote: {note}")
    if state.problems:
        raise BasEdgeError(
            f"The installation is broken: {' '.join(state.problems)}",
            hint="pip install --force-reinstall bas-edge",
        )


def _text(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)
