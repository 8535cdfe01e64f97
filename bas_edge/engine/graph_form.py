"""The form of an exported graph that goes into a bundle: as it is, halved or quantized."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from bas_edge.backends import PLAN_BACKENDS
from bas_edge.engine.manifest import Manifest
from bas_edge.engine.onnx_metadata import with_manifest
from bas_edge.errors import InputError

if TYPE_CHECKING:
    from bas_edge.quantization.codes import Flavour
    from bas_edge.quantization.job import PrecisionJob
    from bas_edge.quantization.reduce import Reduced

__all__ = ["GraphForm", "check_flavour", "graph_form"]


@dataclass(frozen=True, slots=True, eq=False)
class GraphForm:
    """The graph of a bundle.

    Attributes:
        model: Serialized, or the file that holds it.
        manifest: What it says about itself.
        reduced: How it was measured; None where it was not.
    """

    model: bytes | Path
    manifest: Manifest
    reduced: Reduced | None = None


@contextmanager
def graph_form(
    model: Path,
    manifest: Manifest,
    backend: str,
    precision: str,
    job: PrecisionJob | None,
    note: Callable[[str], None],
) -> Iterator[GraphForm]:
    """Bring an exported graph into a precision; its images are at hand until the block ends.

    Args:
        model: The ONNX file.
        manifest: What its metadata say.
        backend: What it is for.
        precision: "fp32", "fp16" or "int8".
        job: The images and the bound; see `build_engine`.
        note: Called with a sentence about anything that went another way than asked.

    Raises:
        InputError: An unknown precision, or one that the graph or the job does not fit.
        MissingExtraError, EngineError, BackendError: See `reduced_graph`.
    """
    if precision not in ("fp32", "fp16", "int8"):
        raise InputError(
            f"Unknown precision '{precision}'.",
            hint="Build with --precision fp32, --precision fp16 or --precision int8.",
        )
    if manifest.precision == precision and job is None:
        yield GraphForm(model, manifest)
        return
    if manifest.precision != "fp32":
        raise _wrong_source(model, manifest, precision)
    if precision == "fp32":
        raise InputError(
            "Precision fp32 has no calibration and no bound.",
            hint="Leave them out, or add --precision int8.",
        )
    if job is not None:
        from bas_edge.quantization.reduce import reduced_graph

        flavour: Flavour = "tensorrt" if backend in PLAN_BACKENDS else "onnxruntime"
        with reduced_graph(model, manifest, precision, flavour, job) as reduced:
            described = with_manifest(reduced.model, reduced.manifest)
            yield GraphForm(described, reduced.manifest, reduced)
        return
    if precision == "int8":
        raise InputError(
            "Precision int8 needs real images to measure ranges on.",
            hint="Add --calib IMAGES, such as the training images.",
        )
    yield _halved_unmeasured(model, manifest, note)


def _halved_unmeasured(model: Path, manifest: Manifest, note: Callable[[str], None]) -> GraphForm:
    from bas_edge.engine.float16_range import half_that_fits, trial_frames

    graph = half_that_fits(model, [trial_frames(manifest.input)])
    for sentence in graph.notes:
        note(sentence)
    changed = msgspec.structs.replace(manifest, precision="fp16")
    return GraphForm(with_manifest(graph.model, changed), changed)


def check_flavour(
    model: Path, manifest: Manifest, backend: str, note: Callable[[str], None]
) -> None:
    """Refuse an int8 graph whose Q/DQ nodes the backend cannot take; say where they are slow.

    Raises:
        InputError: It was quantized for ONNX Runtime, and is to become a plan.
    """
    made_for = manifest.quantization
    if made_for is None:
        return
    if backend in PLAN_BACKENDS and made_for.flavour != "tensorrt":
        raise InputError(
            f"{model} was quantized for ONNX Runtime, whose Q/DQ nodes TensorRT refuses.",
            hint="Build an engine from the exported graph: bas-edge build-engine model.onnx "
            f"--backend {backend} --precision int8 --calib IMAGES",
        )
    if backend not in PLAN_BACKENDS and made_for.flavour == "tensorrt":
        note(
            f"{model} was quantized for TensorRT: ONNX Runtime keeps its rounding, which is slow. "
            "For a fast engine, quantize the exported graph for this backend."
        )


def _wrong_source(model: Path, manifest: Manifest, precision: str) -> InputError:
    if manifest.precision == precision:
        return InputError(
            f"{model} is a graph in {precision} already; calibration needs one in fp32.",
            hint="Leave --calib out, or give the graph that bas-edge export wrote.",
        )
    return InputError(
        f"{model} is a graph in {manifest.precision}; precision {precision} needs one in fp32.",
        hint=f"Build with --precision {manifest.precision}, or give the graph that "
        "bas-edge export wrote.",
    )
