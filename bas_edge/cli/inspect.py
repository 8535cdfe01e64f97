"""`bas-edge inspect`: what an engine says about itself."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bas_edge.cli.options import Engine, Json
from bas_edge.cli.output import counted, print_json, print_rows, size_text
from bas_edge.errors import InputError

if TYPE_CHECKING:
    from bas_edge.engine.manifest import Manifest, Overrides, PlanRecord, Training
    from bas_edge.engine.stages import Stage

__all__ = ["command"]


def command(
    engine: Engine,
    report: Annotated[
        bool,
        typer.Option("--report", help="Show how far it is from float32, and why it was accepted."),
    ] = False,
    open_page: Annotated[
        bool,
        typer.Option("--open", help="Show the report, and open its page in the browser."),
    ] = False,
    json_output: Json = False,
) -> None:
    """Show an engine's manifest, after checking its files against their hashes."""
    if report or open_page:
        from bas_edge.cli.inspect_report import show_report

        show_report(engine, as_json=json_output, open_page=open_page)
        return
    import msgspec

    from bas_edge.engine.inspect import describe
    from bas_edge.engine.manifest import Manifest

    _refuse_a_report(engine)
    found = describe(engine)
    if json_output:
        print_json(found)
        return
    what = "hashes are in order" if found["kind"] == "bundle" else "an exported graph"
    print(f"{found['path']}: {what}, {found['size_bytes'] / 1e6:.1f} MB\n")
    print_rows(_rows(msgspec.convert(found["manifest"], Manifest)))


def _refuse_a_report(folder: Path) -> None:
    """Raise InputError for what a refused build leaves."""
    if folder.is_dir() and (folder / "report.json").is_file():
        from bas_edge.quantization.refused import is_report_folder

        if is_report_folder(folder):
            raise InputError(
                f"{folder} is no engine, but the report of one that was refused.",
                hint=f"bas-edge inspect {shlex.quote(str(folder))} --report",
            )


def _rows(manifest: Manifest) -> list[tuple[str, str]]:
    policy, training = manifest.input, manifest.training
    names = list(manifest.classes)
    shown = ", ".join(names[:8]) + (f", … ({len(names) - 8} more)" if len(names) > 8 else "")
    rows = [
        ("name", manifest.name),
        ("task", manifest.task),
        ("classes", f"{len(names)}: {shown}"),
        ("input", f"{policy.width}×{policy.height} RGB uint8, {policy.resize}"),
        *([] if manifest.task == "segmentation" else _localization(manifest)),
        *_overrides(manifest.overrides),
        ("precision", manifest.precision),
        *_precision_rows(manifest),
        ("backend", manifest.backend),
        ("trained", _trained(training)),
        ("recipe", training.recipe),
        ("images", _trained_on(training) if training.images else ""),
    ]
    rows += [(f"stage {stage.name}", _stage_text(stage)) for stage in manifest.stages]
    for plan in manifest.plans:
        rows += _plan_rows(plan)
    rows += [
        (f"file {file.path}", f"{file.size_bytes:,} bytes, sha256 {file.sha256[:12]}…")
        for file in ((manifest.model,) if manifest.model else ()) + manifest.files
    ]
    for accuracy in manifest.accuracy:
        title = (
            f"{accuracy.data}, {counted(accuracy.images, 'image')}, protocol {accuracy.protocol}"
        )
        rows.append(("accuracy", title))
        rows += [(f"  {name}", f"{value:.1f}") for name, value in accuracy.metrics.items()]
    rows += [("created by", manifest.created_by), ("built with", manifest.build_command)]
    return [(name, value) for name, value in rows if value]


def _localization(manifest: Manifest) -> list[tuple[str, str]]:
    """How maps become boxes."""
    cut = manifest.threshold
    kind = "of each map's range" if cut.rule == "fixed" else "× the mean of the normalised map"
    return [
        ("method", manifest.method),
        ("maps", f"{manifest.maps}, K = {manifest.k}, the best {manifest.top_k} averaged"),
        ("threshold", f"{cut.value:g} {kind}" + (f" ({cut.chosen_by})" if cut.chosen_by else "")),
        ("min score", f"{manifest.min_score:g}"),
    ]


def _overrides(overrides: Overrides) -> list[tuple[str, str]]:
    """What was set by hand over what stands above."""
    values = {
        "threshold": overrides.threshold,
        "top-k": overrides.top_k,
        "min score": overrides.min_score,
    }
    given = [f"{name} {value:g}" for name, value in values.items() if value is not None]
    return [("in use instead", ", ".join(given))] if given else []


def _precision_rows(manifest: Manifest) -> list[tuple[str, str]]:
    """How fewer bits came about, and what they were held to."""
    rows: list[tuple[str, str]] = []
    if (made := manifest.quantization) is not None:
        images = (
            f" on {counted(made.calibration_images, 'image')}" if made.calibration_images else ""
        )
        library = "TensorRT" if made.flavour == "tensorrt" else "ONNX Runtime"
        rows = [
            ("  quantized for", library),
            ("  calibration", f"{made.method}{images}"),
            ("  weights", "7 bits" if made.reduce_range else "8 bits"),
            ("  in float", ", ".join(made.in_float)),
        ]
    if (verdict := manifest.bound) is not None:
        word = "accepted" if verdict.accepted else "refused, but written all the same (--force)"
        rows.append(("  bound", f"{word}: {verdict.description}" if verdict.description else word))
    return rows


def _stage_text(stage: Stage) -> str:
    size = f"{stage.size_bytes / 1e6:.1f} MB" if stage.size_bytes else ""
    compared = ""
    if stage.iou is not None and stage.against:
        what, thing = ("maps", "box") if stage.mask_iou is None else ("probabilities", "mask")
        compared = (
            f"{what} within {stage.max_abs_error:.1e} of {stage.against}, mean {thing} IoU "
            f"{stage.iou.mean:.4f} on {counted(stage.images, 'image')}"
        )
    return "; ".join(filter(None, (size, compared, stage.note)))


def _trained_on(training: Training) -> str:
    return f"{counted(training.images, 'image')} in {counted(training.epochs, 'epoch')}"


def _trained(training: Training) -> str:
    """What is known of the network, in words; empty where nothing is."""
    known = (
        " ".join(filter(None, (training.architecture, training.head))),
        f"width {training.width:g}" if training.width else "",
        f"map stride {training.map_stride}" if training.map_stride else "",
        f"at {training.input_size} pixels" if training.input_size else "",
    )
    return ", ".join(filter(None, known))


def _plan_rows(plan: PlanRecord) -> list[tuple[str, str]]:
    batch = (
        f"static, {plan.max_batch}"
        if plan.min_batch == plan.max_batch
        else f"{plan.min_batch} to {plan.max_batch}, fastest at {plan.opt_batch}"
    )
    built_on = ", ".join(
        filter(
            None,
            (
                plan.device_name,
                plan.driver and f"driver {plan.driver}",
                plan.cuda and f"CUDA {plan.cuda}",
            ),
        )
    )
    memory = f", peak {size_text(plan.peak_bytes)}" if plan.peak_bytes else ""
    return [
        ("plan", f"{plan.backend} {plan.library_version}: {plan.file.path}"),
        ("  file", f"{plan.file.size_bytes:,} bytes, sha256 {plan.file.sha256[:12]}…"),
        ("  runs on", ", ".join(plan.targets or (plan.compute_capability,))),
        ("  compatible", plan.hardware_compat if plan.hardware_compat != "none" else ""),
        ("  precision", plan.precision),
        ("  batch", batch),
        ("  workspace", size_text(plan.workspace_bytes) if plan.workspace_bytes else ""),
        ("  built", f"{plan.layers} layers in {plan.build_seconds:.1f} s{memory}"),
        ("  built on", built_on),
    ]
