"""A checkpoint becomes one ONNX file that a runtime needs nothing else to use."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec
import onnx

import bas_edge
from bas_edge.engine.manifest import InputPolicy, Manifest, ThresholdPolicy, Training
from bas_edge.engine.onnx_graph import OnnxGraph
from bas_edge.engine.onnx_metadata import with_manifest
from bas_edge.errors import InputError
from bas_edge.quantization.layers import find_layers
from bas_edge.quantization.trained_ranges import with_trained_ranges
from bas_edge_training.atomic import make_folder, replace_atomically
from bas_edge_training.checkpoint import Checkpoint, load_checkpoint
from bas_edge_training.distill import MIN_BOX_IOU, Distillation, distil
from bas_edge_training.export_form import Choice, Form, choose_form
from bas_edge_training.export_report import ExportReport
from bas_edge_training.export_stages import export_stages
from bas_edge_training.graph import (
    contract_graph,
    find_class_maps,
    replace_by_mean,
    select_classes,
)
from bas_edge_training.methods import BAS, Method, find_method
from bas_edge_training.parity import check_parity
from bas_edge_training.samples import Samples, real_samples, synthetic_samples
from bas_edge_training.simplify import simplify as run_onnxsim
from bas_edge_training.threshold import (
    DEFAULT_THRESHOLD,
    THRESHOLD_IMAGES,
    averaged_maps,
    label_free_threshold,
    recipe_localization,
)

__all__ = ["ExportReport", "export"]

_PARITY_IMAGES = 8
_ENOUGH_IMAGES = 16  # to choose a threshold or fit a mean map
_SIMPLIFY_IMAGES = 3

Images = str | Path | Sequence[str | Path]


def export(
    checkpoint: str | Path,
    output: str | Path,
    *,
    method: str = "bas",
    maps: Form = "auto",
    k: int | None = None,
    top_k: int | None = None,
    images: Images | None = None,
    input_size: int | None = None,
    simplify: bool = True,
    overwrite: bool = False,
    reporter: Callable[[str], None] | None = None,
) -> ExportReport:
    """Write a trained model as an ONNX file of the graph contract (docs/graph.md).

    The file appears only after its graph passed the ONNX checker and agreed with PyTorch.

    Args:
        checkpoint: The run folder, or its checkpoint.safetensors.
        output: The ONNX file to write.
        method: What computes the maps: "bas", or a baseline on the same checkpoint: "cam",
            "gradcam", "layercam", "eigencam", "eigencam@deep" (docs/methods.md).
        maps: "all" class maps; the "selected" k best, chosen in the graph; or their "mean" from
            one distilled generator, where all are averaged. "auto": "selected" where fewer than
            all classes are averaged, else "mean" where real images show that its boxes agree,
            else "all".
        k: Class maps that the graph computes. Default: `top_k`.
        top_k: Class maps that the runtime averages by default. Default: the recipe's
            `localization.top_k`, or 80; all of fewer classes. Of baselines, which show one
            class, 1.
        images: Real images to check, distil and choose the threshold on: folder, glob,
            labels CSV or list of files. Default: those of the checkpoint's own data, where they
            still exist.
        input_size: Side of the graph's square input, a multiple of 16. Default: that of training.
            At another, the threshold is measured anew; min_score stays.
        simplify: Run onnxsim, in a child process.
        overwrite: Replace a file that is there; it stays until the new one is complete.
        reporter: Called with one line per step.

    Raises:
        InputError: `output` exists and `overwrite` is False, an option or file cannot be used, or
            maps="mean" was asked and its boxes disagree.
        EngineError: The graph and PyTorch disagree.
    """
    output = Path(output)
    _check_output(output, overwrite=overwrite)
    by = _exportable(method)
    say = reporter or (lambda _line: None)
    loaded = load_checkpoint(checkpoint)
    model, info = loaded.model, loaded.info
    _resize_input(loaded, input_size, say)
    default = averaged_maps(recipe_localization(info), len(info.classes), by)
    choice = choose_form(
        by, len(info.classes), maps, k, top_k, default=default, selectable=by.selectable(model)
    )
    samples = _samples(loaded, images)
    threshold = _threshold(loaded, samples, choice, by, images_given=images is not None)

    say(f"writing the graph of {info.model.architecture} ({info.model.head} head), {by.title}")
    graph = contract_graph(model, method=by)
    distillation = None
    if choice.form == "mean" and not by.class_free:
        layer = find_class_maps(graph).layer
        choice, distillation = _distilled(choice, loaded, layer, samples, threshold, say)
    if choice.form == "selected":
        select_classes(graph, choice.k)
    mean = None
    if choice.form == "mean" and distillation is not None:
        replace_by_mean(graph, distillation.generator)
        mean = (distillation.layer, distillation.generator)

    plain, simplification = graph, None
    if simplify:
        say("simplifying with onnxsim")
        graph, simplification = run_onnxsim(plain, samples.frames[:_SIMPLIFY_IMAGES])
    manifest = _manifest(loaded, output, choice, threshold, by)
    encoded = with_manifest(graph.SerializeToString(), manifest)
    final = onnx.ModelProto.FromString(encoded)
    onnx.checker.check_model(final, full_check=True)
    frames = samples.frames[:: -(-len(samples.frames) // _PARITY_IMAGES)]
    say(f"comparing with PyTorch on {len(frames)} frames")
    parity = check_parity(
        final, model, frames, top_k=choice.top_k, threshold=threshold, mean=mean, method=by
    )
    stages = export_stages(
        parity,
        manifest,
        frames,
        plain=plain,
        simplification=simplification,
        checkpoint_bytes=loaded.path.stat().st_size,
        file_bytes=len(encoded),
        note="" if samples.real else "on synthetic images",
    )
    manifest = msgspec.structs.replace(manifest, stages=stages)
    encoded = with_manifest(encoded, manifest)
    trained = None if info.trained_ranges is msgspec.UNSET else info.trained_ranges
    if trained is not None:
        final_graph = OnnxGraph.read(encoded, purpose="Export")
        trained.codes(final_graph, find_layers(final_graph), trained.flavour)  # raises if one lacks
        encoded = with_trained_ranges(encoded, trained)
    replace_atomically(output, lambda temporary: temporary.write_bytes(encoded))
    return ExportReport(
        path=output,
        size_bytes=len(encoded),
        manifest=manifest,
        reason=choice.reason,
        nodes=len(final.graph.node),
        samples=f"{parity.images} of {samples.source}",
        simplification=simplification,
        parity=parity,
        distillation=distillation,
        trained_ranges=trained,
        trained_at=info.model.input_size,
        next_command=shlex.join(
            ["bas-edge", "build-engine", str(output), "-o", str(output.with_suffix(".engine"))]
        ),
    )


def _exportable(name: str) -> Method:
    """The method called so, where a graph can hold it."""
    method = find_method(name)
    if not method.exportable:
        last = find_method(name.partition("@")[0])
        raise InputError(
            f"{method.title} cannot be exported: it needs gradients or many passes for each image.",
            hint=f"At the last layer it needs none: --method {last.name}"
            if last.exportable
            else "See it beside others: bas-edge compare.",
        )
    return method


def _resize_input(
    checkpoint: Checkpoint, input_size: int | None, say: Callable[[str], None]
) -> None:
    """Make the loaded model one for frames of another size, where that is asked."""
    if input_size is None:
        return
    try:
        checkpoint.model.set_input_size(input_size)
    except ValueError as error:
        raise InputError(
            f"The graph cannot have that input: {error}.", hint="For example: --input-size 192"
        ) from None
    if _resized(checkpoint) and checkpoint.info.min_score:
        say(
            f"min_score was chosen at {checkpoint.info.model.input_size} pixels and stays: "
            "bas-edge evaluate --update chooses it for this size"
        )


def _resized(checkpoint: Checkpoint) -> bool:
    return checkpoint.model.config.input_size != checkpoint.info.model.input_size


def _samples(checkpoint: Checkpoint, images: Images | None) -> Samples:
    """Real images where there are any: those given, else those of the checkpoint's own data."""
    side = checkpoint.model.config.input_size
    if images is not None:
        return real_samples(images, side=side, count=THRESHOLD_IMAGES)
    recorded = checkpoint.info.data.source
    if recorded and Path(recorded).exists():
        return real_samples(recorded, side=side, count=THRESHOLD_IMAGES)
    return synthetic_samples(side=side, count=_PARITY_IMAGES)


def _threshold(
    checkpoint: Checkpoint, samples: Samples, choice: Choice, method: Method, *, images_given: bool
) -> ThresholdPolicy:
    """For the maps that this graph averages, from real images; else BAS's, the checkpoint's own.

    One that the recipe set was not measured on images, and other images do not change it.
    """
    classes, options = len(checkpoint.info.classes), recipe_localization(checkpoint.info)
    own = checkpoint.info.threshold if method is BAS else None
    averaged = classes if choice.form == "mean" else choice.top_k
    same_maps = averaged == averaged_maps(options, classes) and not _resized(checkpoint)
    if own and same_maps and (options.threshold or not images_given):
        return own
    chosen = None
    if samples.real and len(samples.frames) >= _ENOUGH_IMAGES:
        chosen = label_free_threshold(
            checkpoint.model, samples.frames, top_k=averaged, method=method
        )
    return chosen or own or DEFAULT_THRESHOLD


def _distilled(
    choice: Choice,
    checkpoint: Checkpoint,
    layer: str,
    samples: Samples,
    threshold: ThresholdPolicy,
    say: Callable[[str], None],
) -> tuple[Choice, Distillation | None]:
    """The choice "mean" with its fit, or "all" with the reason why not."""
    distillation = None
    classes = len(checkpoint.info.classes)
    if not samples.real or len(samples.frames) < _ENOUGH_IMAGES:
        problem = (
            f"a mean map is fitted on at least {_ENOUGH_IMAGES} real images; "
            f"there were {len(samples.frames) if samples.real else 0}"
        )
    else:
        say(f"distilling the mean of {classes} maps on {samples.source}")
        distillation = distil(
            checkpoint.model, layer, samples.frames, threshold=threshold, report=say
        )
        agreement = (
            f"its boxes agree with mean IoU {distillation.box_iou:.4f} on "
            f"{distillation.held_out} held-out images"
        )
        if distillation.accepted:
            reason = f"all {classes} classes are averaged, which {distillation.parts} filters do"
            return replace(choice, reason=f"{reason}: {agreement}"), distillation
        problem = f"a distilled mean map was refused: {agreement}, less than {MIN_BOX_IOU}"
    if choice.asked:
        raise InputError(
            f'maps="mean" is not possible here: {problem}.',
            hint='Use maps="all", or give more images with images=….',
        )
    return Choice("all", classes, classes, f"all classes are averaged; {problem}", False), (
        distillation
    )


def _manifest(
    checkpoint: Checkpoint, output: Path, choice: Choice, threshold: ThresholdPolicy, method: Method
) -> Manifest:
    info, side = checkpoint.info, checkpoint.model.config.input_size
    return Manifest(
        name=output.stem,
        created_by=f"bas-edge {bas_edge.__version__}",
        method=method.name,
        classes=info.classes,
        input=InputPolicy(height=side, width=side),
        maps=choice.form,
        k=choice.k,
        top_k=choice.top_k,
        threshold=threshold,
        min_score=info.min_score,
        training=Training(
            architecture=info.model.architecture,
            head=info.model.head,
            width=info.model.width,
            map_stride=info.model.map_stride,
            input_size=info.model.input_size,
            recipe=info.recipe,
            recipe_sha256=info.recipe_sha256,
            checkpoint_sha256=hashlib.sha256(checkpoint.path.read_bytes()).hexdigest(),
            images=info.data.images,
            epochs=info.epoch,
        ),
    )


def _check_output(output: Path, *, overwrite: bool) -> None:
    """Refuse what would only fail after the work is done."""
    if output.suffix.lower() != ".onnx":
        raise InputError(
            f"The output is an ONNX file, but '{output}' does not end in .onnx.",
            hint=f"Write {output.with_suffix('.onnx')} instead.",
        )
    if output.is_dir():
        raise InputError(f"{output} is a folder.", hint="Give the name of a file.")
    if output.exists() and not overwrite:
        raise InputError(
            f"{output} already exists.",
            hint="Add --overwrite to replace it, or choose another output.",
        )
    make_folder(output.parent)
