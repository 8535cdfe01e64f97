"""What runs our network on the GPU at hand: a plan, where a TensorRT does; else torch.

`python -m benchmarks.gpu_network tensorrt --work FOLDER` builds the plans of one backend and runs
a frame through each. It is a process of its own, since a library that does not support a GPU may
end the process instead of saying so.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import msgspec

from bas_edge import Localizer, build_engine, open_engine
from bas_edge.backends import PLAN_BACKENDS, library_version, open_plan
from bas_edge.backends._cuda import open_device
from bas_edge.backends.base import DevicePlan
from bas_edge.conditions import installed_version
from bas_edge.engine.manifest import Manifest
from bas_edge.engine.plans import find_plan
from bas_edge.errors import BackendError, BasEdgeError, EngineError

from .cases.frame_to_box_gpu import BATCHES
from .cases.resize_frame import example_frame
from .conditions import REPOSITORY

__all__ = ["GpuNetwork", "choose", "engine_for", "open_network_plan", "open_ours", "read_choice"]

HEAD = "edge"
_CHILD_S = 900


class GpuNetwork(msgspec.Struct, frozen=True, kw_only=True):
    """What was chosen.

    Attributes:
        backend: One of PLAN_BACKENDS, or "torch".
        version: Of that library.
        said: What the libraries before it said; "" where the first one serves.
    """

    backend: str
    version: str
    said: str


def choose(work: Path) -> GpuNetwork:
    """Try each TensorRT in a child, and write down which one serves; once in a work folder."""
    path = _choice_path(work)
    if path.exists():
        return read_choice(work)
    said = []
    for backend in PLAN_BACKENDS:
        refusal = _try_in_child(backend, work)
        if not refusal:
            version = library_version(backend)
            break
        said.append(f"{backend}: {refusal}")
    else:
        backend, version = "torch", installed_version("torch") or "?"
    chosen = GpuNetwork(backend=backend, version=version, said=" ".join(said))
    path.write_bytes(msgspec.json.encode(chosen))
    return chosen


def read_choice(work: Path) -> GpuNetwork:
    """What `choose` wrote down."""
    return msgspec.json.decode(_choice_path(work).read_bytes(), type=GpuNetwork)


def engine_for(work: Path, backend: str, batch: int) -> Path:
    """The engine whose plan takes exactly `batch` frames; torch needs its manifest only."""
    return work / (f"{HEAD}.engine" if backend == "torch" else f"{HEAD}-{backend}-{batch}.engine")


def open_ours(work: Path, batch: int) -> Localizer:
    """A Localizer as a user opens it, with boxes only; over torch where no TensorRT serves."""
    backend = read_choice(work).backend
    engine = engine_for(work, backend, batch)
    if backend != "torch":
        return Localizer(engine, backend=backend, boxes_only=True)
    from .torch_plan import localizer_over

    return localizer_over(engine, lambda _: open_network_plan(work, batch)[0], boxes_only=True)


def open_network_plan(work: Path, batch: int) -> tuple[DevicePlan, Manifest]:
    """The network alone, for `batch` frames, on a device that it closes; and its manifest."""
    backend = read_choice(work).backend
    engine = open_engine(engine_for(work, backend, batch), check_plans=False)
    if backend == "torch":
        return _torch_plan(work, engine.manifest, batch), engine.manifest
    device = open_device()
    try:
        record = find_plan(engine, backend, device.compute_capability)
        path = engine.path / record.file.path
        return open_plan(backend, path, device, rebuild=""), engine.manifest
    except BaseException:
        device.close()
        raise


def _torch_plan(work: Path, manifest: Manifest, batch: int) -> DevicePlan:
    import torch

    from .models import load_model
    from .torch_network import TorchNetwork, specs_of
    from .torch_plan import TorchPlan

    torch.backends.cudnn.benchmark = True
    model = load_model(work, HEAD).cuda()
    side = manifest.input.height // 8
    return TorchPlan(
        TorchNetwork(model, manifest),
        open_device(),
        specs_of(manifest, (side, side)),
        batches=(batch, batch, batch),
    )


def _choice_path(work: Path) -> Path:
    return work / "gpu-network.json"


def _try_in_child(backend: str, work: Path) -> str:
    """Why this backend does not serve here, in its own words; "" where it does."""
    command = [sys.executable, "-m", "benchmarks.gpu_network", backend, "--work", str(work)]
    try:
        done = subprocess.run(
            command, cwd=REPOSITORY, capture_output=True, text=True, timeout=_CHILD_S, check=False
        )
    except subprocess.TimeoutExpired:
        return f"it did not finish within {_CHILD_S} s."
    if done.returncode == 0:
        return ""
    words = " ".join((done.stdout.strip() or done.stderr.strip()).splitlines()[-4:])
    return words or f"the process ended with exit code {done.returncode}."


def _try(backend: str, work: Path) -> None:
    library_version(backend)  # a library that is not here is not worth a graph
    for batch in BATCHES:
        path = engine_for(work, backend, batch)
        build_engine(
            work / f"{HEAD}.onnx",
            path,
            backend=backend,
            precision="fp16",
            min_batch=batch,
            opt_batch=batch,
            max_batch=batch,
            timing_cache=work / "timing.cache" if backend == "tensorrt" else None,
            overwrite=True,
        )
        try:
            with Localizer(path, backend=backend, boxes_only=True) as opened:
                opened.run_batch([example_frame(0)] * batch)
        except EngineError as error:
            print(error, flush=True)  # in case the library ends this process
            raise BackendError(_own_words(backend, path)) from error


def _own_words(backend: str, path: Path) -> str:
    """What the library says when it is given a plan that our own checks refuse here."""
    engine = open_engine(path, check_plans=False)
    device = open_device()
    try:
        plan = engine.path / engine.manifest.plans[-1].file.path
        open_plan(backend, plan, device, rebuild="").close()
    except BasEdgeError as error:
        return f"The library itself: {error}"
    finally:
        device.close()
    return "The library itself loads the plan."


def main() -> int:
    """Exit code 0 where the backend serves; else 1, and the reason on standard output."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu_network")
    parser.add_argument("backend", choices=PLAN_BACKENDS)
    parser.add_argument("--work", type=Path, required=True)
    options = parser.parse_args()
    try:
        _try(options.backend, options.work)
    except (BasEdgeError, ImportError) as error:
        print(error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
