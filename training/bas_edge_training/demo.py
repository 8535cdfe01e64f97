"""The whole path in one call: images, training, export, engine, evaluation, video, report."""

from __future__ import annotations

import csv
import json
import shlex
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from bas_edge import Localizer, build_engine, evaluate
from bas_edge.annotations import Annotations, read_annotations
from bas_edge.errors import InputError
from bas_edge.evaluation_report import Evaluation
from bas_edge.latency import Benchmark, benchmark
from bas_edge.video import VideoSummary, localize_video

from .data import read_training_data
from .demo_pictures import draw_results, draw_video_strip
from .exporting import export
from .progress import ConsoleReporter, Reporter
from .recipe import load_recipe
from .report import DemoFacts, write_report
from .results import TrainResult
from .synthetic import generate_dataset
from .synthetic_video import generate_video
from .training import train

__all__ = ["DemoResult", "run_demo"]

MARKER = "demo.json"
SHOWN_IMAGES = 12


@dataclass(frozen=True, slots=True)
class DemoResult:
    """What the demo left in its output folder.

    Attributes:
        output: The folder.
        engine: `demo.engine`, for Localizer and `bas-edge run`.
        report: `report.html`: one page, pictures inside, nothing to load from elsewhere.
        contact_sheet: Held-out images with their boxes.
        video: The annotated mp4; None where there was no video to run.
        evaluation: The engine on held-out images; `localization` is None without boxes.
        seconds: Wall time of each stage, in order.
    """

    output: Path
    engine: Path
    report: Path
    contact_sheet: Path
    video: Path | None
    evaluation: Evaluation
    seconds: dict[str, float]


@dataclass(slots=True)
class _Stages:
    """Says what begins, and keeps how long it took."""

    say: Callable[[str], None]
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        self.say(name)
        began = time.monotonic()
        yield
        self.seconds[name] = time.monotonic() - began


def run_demo(
    output: Path | str = "demo_out",
    *,
    data: Path | str | None = None,
    video: Path | str | None = None,
    pretrained: str | None = None,
    recipe: Path | str | None = None,
    overrides: tuple[str, ...] = (),
    images_per_class: int = 100,
    seed: int = 0,
    say: Callable[[str], None] = lambda _line: None,
    reporter: Reporter | None = None,
) -> DemoResult:
    """Train, export, build, evaluate, run and measure a localizer, and write a report about it.

    Args:
        output: A new folder, or that of an earlier demo, which is replaced.
        data: Your own images, one folder a class; None generates images whose boxes are known.
        video: Your own video; None generates one, or runs none with your own images.
        pretrained: Backbone weights, as `train` takes them; None starts from scratch.
        recipe: An installed recipe's name, or a TOML file; None is "default" with pretrained
            weights, and "demo", which is small and quick, without.
        overrides: `section.key=value` strings applied to the recipe.
        images_per_class: Generated training images of each class; a fifth as many are drawn
            for validation.
        seed: Of the generated pictures.
        say: Called with one line as each stage begins.
        reporter: Told about every training step; None writes progress to stderr.

    Raises:
        InputError: The data, video, recipe or output folder cannot be used.
    """
    for path in (data, video):
        if path is not None and not Path(path).exists():
            raise InputError(f"{path} does not exist.", hint="Check the path of DATA or VIDEO.")
    recipe = recipe or ("default" if pretrained else "demo")
    chosen = load_recipe(recipe, overrides)
    root = _fresh_folder(Path(output))
    stage = _Stages(say)
    background: Path | None = None

    if data is None:
        with stage("draw images with known boxes"):
            drawn = generate_dataset(
                root / "data",
                images_per_class=images_per_class,
                val_per_class=max(1, images_per_class // 5),
                backgrounds=max(2, images_per_class * 3 // 5),
                seed=seed,
            )
            images, held_out, background = drawn.train, drawn.val_csv, drawn.background
    else:
        images, held_out = Path(data), root / "held_out.csv"
        with stage("set labelled images aside"):
            fraction = chosen.validation.fraction
            _write_held_out(images, held_out, fraction, chosen.training.seed)
    with stage("train from image labels"):
        trained = train(
            images,
            root / "run",
            chosen,
            pretrained=pretrained,
            reporter=ConsoleReporter() if reporter is None else reporter,
        )
    with stage("export to ONNX"):
        exported = export(trained.checkpoint, root / "model.onnx")
    with stage("build the engine"):
        engine = build_engine(exported.path, root / "demo.engine").path
    with stage("evaluate on held-out images"):
        evaluation = evaluate(engine, held_out, background=background)
        sheet = root / "contact_sheet.png"
        with Localizer(engine) as localizer:
            annotations = read_annotations(held_out)
            draw_results(localizer, _spread(annotations, SHOWN_IMAGES), sheet)
    summary = strip = None
    if data is None and video is None:
        with stage("draw a video"):
            video = root / "video.mp4"
            generate_video(video, seed=seed)
    if video is not None:
        with stage("run the video"), Localizer(engine) as localizer:
            summary = localize_video(localizer, video, annotated=root / "video_boxes.mp4")
            strip = draw_video_strip(root / "video_boxes.mp4", root / "video_strip.png")
    with stage("measure latency"):
        measured = benchmark(engine, frames=200, seconds=15)
    facts = DemoFacts(
        generated=data is None,
        data=str(data or "generated"),
        pretrained=pretrained or "",
        recipe=str(recipe),
        trained=trained,
        exported=exported,
        evaluation=evaluation,
        benchmark=measured,
        video=summary,
        curves=root / "run" / "curves.png",
        contact_sheet=sheet,
        video_strip=strip,
        seconds=stage.seconds,
        next_commands=_next_commands(engine),
    )
    report = write_report(root / "report.html", facts)
    (root / MARKER).write_text(_summary_json(trained, evaluation, measured, summary, stage.seconds))
    return DemoResult(
        output=root,
        engine=engine,
        report=report,
        contact_sheet=sheet,
        video=None if summary is None else summary.annotated,
        evaluation=evaluation,
        seconds=stage.seconds,
    )


def _fresh_folder(root: Path) -> Path:
    """An empty folder at `root`; an earlier demo in it is removed, anything else is refused."""
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        if not (root / MARKER).is_file():
            raise InputError(
                f"{root} exists, and no demo wrote it.",
                hint="Choose another folder: --output NAME (make demo OUT=NAME).",
            )
        shutil.rmtree(root)
    root.mkdir(parents=True, exist_ok=True)
    (root / MARKER).write_text("{}\n")  # from the first moment, so that Ctrl-C can be followed
    return root


def _write_held_out(data: Path, path: Path, fraction: float, seed: int) -> None:
    """A labels CSV of the images that training, with the same seed, will set aside."""
    found = read_training_data(data, validation_fraction=fraction, seed=seed)
    if not found.validation_paths:
        raise InputError(
            f"{data} has too few images to set some aside for evaluation.",
            hint="Give each class ten images or more.",
        )
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("path", "label", "class_name"))
        for image, label in zip(found.validation_paths, found.validation_labels, strict=True):
            writer.writerow((image.resolve(), label, found.classes[label]))


def _spread(annotations: Annotations, count: int) -> Annotations:
    """`count` items, evenly spread over the list."""
    step = max(1, len(annotations.items) // count)
    return replace(annotations, items=annotations.items[::step][:count])


def _next_commands(engine: Path) -> tuple[tuple[str, str], ...]:
    name = shlex.quote(str(engine))
    return (
        ("Boxes on your own pictures or video", f"bas-edge run {name} pictures/ clip.mp4"),
        ("The whole path on your own images", "make demo DATA=my_images VIDEO=clip.mp4"),
        ("A better model: start from pretrained weights",
         "bas-edge train my_images -o runs/mine --pretrained backbone.safetensors"),
        ("What the engine is", f"bas-edge inspect {name}"),
        ("What works on this machine", "bas-edge doctor"),
    )  # fmt: skip


def _summary_json(
    trained: TrainResult,
    evaluation: Evaluation,
    measured: Benchmark,
    video: VideoSummary | None,
    seconds: dict[str, float],
) -> str:
    """The main figures, for scripts."""
    found = evaluation.localization
    figures = {
        "classification_top1": evaluation.classification.top1,
        "gt_known": None if found is None else found.stored.localization.gt_known,
        "centre_box": None if found is None else found.centre_box.by_iou["0.5"],
        "total_p50_ms": measured.stages["total"].p50_ms,
        "video_frames": None if video is None else video.frames,
        "train_steps": trained.steps,
        "seconds": {name: round(value, 1) for name, value in seconds.items()},
    }
    return json.dumps(figures, indent=2) + "\n"
