"""What runs a network on the GPU of this machine: TensorRT, TensorRT-RTX, or else torch."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
import torch
from numpy.typing import NDArray

from bas_edge import Localizer, Segmenter, build_engine, segmenter
from bas_edge.backends import PLAN_BACKENDS, TensorSpec
from bas_edge.backends._cuda import open_device
from bas_edge.device_runner import SharedPlan
from bas_edge.engine.bundle import Engine
from bas_edge.engine.manifest import Manifest
from bas_edge.plan_backend import PlanBackend
from benchmarks.torch_network import specs_of
from benchmarks.torch_plan import Network, TorchPlan, localizer_over

MAX_BATCH = 4
_TRY = """
import sys
import numpy as np
from bas_edge import Localizer, build_engine
from bas_edge.errors import BasEdgeError
backend, model, engine = sys.argv[1:]
try:
    build_engine(model, engine, backend=backend)
    with Localizer(engine, backend=backend) as localizer:
        localizer.run(np.zeros((8, 8, 3), np.uint8))
except (BasEdgeError, ImportError) as error:
    print(error)
    sys.exit(1)
"""


class Serving(NamedTuple):
    """`said`: why it is not one of the backends before it, in their own words."""

    backend: str
    said: str


_found: Serving | None = None  # a machine does not change meanwhile


def find_serving(model: Path, folder: Path) -> Serving:
    """The first that runs `model` here; each is tried in a process that it may bring down."""
    global _found
    if _found is None:
        _found = _search(model, folder)
    return _found


def _search(model: Path, folder: Path) -> Serving:
    said = []
    for backend in PLAN_BACKENDS:
        command = [sys.executable, "-c", _TRY, backend, str(model), str(folder / backend)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return Serving(backend, " ".join(said))
        words = (done.stdout.strip() or done.stderr.strip()).splitlines()
        said.append(f"{backend}: {words[-1] if words else f'exit code {done.returncode}'}")
    if not torch.cuda.is_available():
        said.append(f"torch {torch.__version__} sees no GPU")
        raise RuntimeError("Nothing runs a network on this GPU. " + "; ".join(said))
    return Serving("torch", " ".join(said))


def open_localizer(
    serving: Serving,
    model: Path,
    cells: tuple[int, int],
    torch_network: Callable[[Manifest], Network],
    **options: Any,
) -> Localizer:
    """The exported `model`, whose maps have h × w cells, on this GPU, in float32."""
    if serving.backend != "torch":
        engine = model.with_suffix(f".{serving.backend}.engine")
        if not engine.exists():
            build_engine(model, engine, backend=serving.backend, max_batch=MAX_BATCH)
        return Localizer(engine, backend=serving.backend, **options)

    def open_plan(manifest: Manifest) -> TorchPlan:
        return TorchPlan(
            torch_network(manifest),
            open_device(),
            specs_of(manifest, cells),
            batches=(1, 1, MAX_BATCH),
        )

    return localizer_over(model, open_plan, **options)


def open_segmenter(serving: Serving, model: Path, network: Network) -> Segmenter:
    """The `tiny_segmenter` in `model`, on this GPU; `network` is the same for torch."""
    if serving.backend != "torch":
        engine = model.with_suffix(f".{serving.backend}.engine")
        if not engine.exists():
            build_engine(model, engine, backend=serving.backend, max_batch=MAX_BATCH)
        return Segmenter(engine, backend=serving.backend)

    def open_network(engine: Engine, **_: object) -> PlanBackend:
        policy, classes = engine.manifest.input, len(engine.manifest.classes)
        cells = (policy.height // 4, policy.width // 4)
        specs = (
            TensorSpec("frames", (None, policy.height, policy.width, 3), np.dtype(np.uint8)),
            TensorSpec("scores", (None, 1 + classes, *cells), np.dtype(np.float32)),
        )
        plan = TorchPlan(network, open_device(), specs, batches=(1, 1, MAX_BATCH))
        return PlanBackend(SharedPlan(plan))

    with mock.patch.object(segmenter, "open_network", open_network):
        return Segmenter(model)


class TinySegmenter:
    """The network of `tests/segmentation_graph.py` in torch, in float32."""

    def __init__(
        self, weights: NDArray[np.float32], bias: NDArray[np.float32], device: str
    ) -> None:
        self._weights = torch.from_numpy(weights).to(device)[:, :, None, None]  # [1 + C, 3, 1, 1]
        self._bias = torch.from_numpy(bias).to(device)[:, None, None]

    def __call__(self, frames: torch.Tensor) -> dict[str, torch.Tensor]:
        cells = torch.nn.functional.avg_pool2d(frames.permute(0, 3, 1, 2).float(), 4)
        return {"scores": (self._weights * cells[:, None]).sum(2) + self._bias}


class TinyNetwork:
    """The network of `tests/graphs.py` in torch: products in float32, never TF32."""

    def __init__(self, manifest: Manifest, weights: NDArray[np.float32], device: str) -> None:
        self._weights = torch.from_numpy(weights).to(device)  # [C, 3]
        self._picked = manifest.k if manifest.maps == "selected" else 0

    def __call__(self, frames: torch.Tensor) -> dict[str, torch.Tensor]:
        unit = frames.permute(0, 3, 1, 2).float() / 255
        cells = torch.nn.functional.avg_pool2d(unit, 4)
        response = (self._weights[:, :, None, None] * cells[:, None]).sum(2)  # [N, C, h, w]
        logits = 30 * response.mean((2, 3))
        maps = torch.sigmoid(20 * response - 10)
        if not self._picked:
            return {"logits": logits, "maps": maps}
        best = logits.topk(self._picked, dim=1).indices
        index = best[:, :, None, None].expand(-1, -1, *maps.shape[2:])
        return {"logits": logits, "classes": best.int(), "maps": maps.gather(1, index)}
