"""Checkpoints that the authors of BAS published, as checkpoints of our own.

Two releases: that of the paper (arXiv 2112.00580), whose class maps pass a ReLU before their mean,
and BAS-Extension (2309.12943), whose do not. Nothing in a file tells the one from the other for
sure, but most say it: extension files are wrapped with their epoch, and of the first release some
keep copies of the layers that see erased features.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bas_edge.errors import InputError
from bas_edge_training.atomic import make_folder
from bas_edge_training.checkpoint import CheckpointInfo, DataSummary, save_checkpoint
from bas_edge_training.models import BasModel, ModelConfig, build_model, find_backbone
from bas_edge_training.models.backbone import Backbone
from bas_edge_training.models.config import TORCHVISION
from bas_edge_training.models.weight_files import read_weights
from bas_edge_training.models.weights import BN_KEYS, Layer, backbone_units, fill_unit
from bas_edge_training.recipe import load_recipe
from bas_edge_training.threshold import run_threshold

__all__ = [
    "PUBLISHED_NAMES",
    "ImportReport",
    "Release",
    "Task",
    "import_checkpoint",
    "published_shapes",
]

Task = Literal["localization", "segmentation"]
Release = Literal["bas", "bas-extension"]

PUBLISHED_NAMES = {  # what the published code calls its networks
    "vgg": "vgg16",
    "resnet": "resnet50",
    "inception": "inception_v3",
    "mobilenet": "mobilenet_v1",
}
_COPIES = re.compile(r"^(erase_branch|conv_copy_5_\d|\w+_copy)\.")  # layers for erased features
_LISTED = 3  # names in a message
_NO_FRAMES: NDArray[np.uint8] = np.empty((0, 224, 224, 3), np.uint8)


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What was imported.

    Attributes:
        checkpoint: The safetensors file that was written.
        source: The published file.
        architecture, task, release: What it holds.
        classes: C.
        tensors: How many of its tensors were taken.
        copies: How many were left, as they only repeat others.
        epoch: Of its training, where the file says it; else 0.
        next_command: What to type next.
    """

    checkpoint: Path
    source: Path
    architecture: str
    task: Task
    release: Release
    classes: int
    tensors: int
    copies: int
    epoch: int
    next_command: str


def import_checkpoint(
    path: str | Path,
    output: str | Path,
    *,
    architecture: str,
    task: Task = "localization",
    release: Release | None = None,
    classes: Sequence[str] | None = None,
    recipe: str | None = None,
    overwrite: bool = False,
) -> ImportReport:
    """Read a published `.pth.tar` file, and write a run folder with its checkpoint.safetensors.

    The model computes what the published network computes: logits, and maps in class order.

    Args:
        path: The file, with or without `module.` before its names, a state dict or wrapped.
        output: The run folder to write.
        architecture: "vgg16", "resnet50", "inception_v3" or "mobilenet_v1", or the published
            code's name for it ("vgg", …).
        task: "segmentation" is the ResNet50 of BAS-Extension's WSSS part.
        release: Whose file it is. Default: what the file says.
        classes: C names in the order of the logits. Default: "class 0", "class 1", …
        recipe: The published recipe it was trained by, such as "cub_vgg16_published": its top-k and
            threshold become those of the engine. Default: 80 maps, and a threshold that export
            chooses without any box.
        overwrite: Replace a checkpoint that is there.

    Raises:
        InputError: The file cannot be read or holds objects, tensors are missing, left over or of
            another shape, it does not say of which release it is, or `output` has a checkpoint.
    """
    path, output = Path(path), Path(output)
    checkpoint = output / "checkpoint.safetensors"
    if checkpoint.exists() and not overwrite:
        raise InputError(f"{checkpoint} exists already.", hint="--overwrite replaces it.")
    name = PUBLISHED_NAMES.get(architecture, architecture)
    trained_by = None if recipe is None else load_recipe(recipe)
    if trained_by is not None and trained_by.model.architecture != name:
        raise InputError(
            f"The recipe {recipe} is for a {trained_by.model.architecture}, not a {name}.",
            hint="Name the published recipe of this network, or leave --recipe out.",
        )
    backbone = find_backbone(name)
    if backbone.published is None or (task == "segmentation" and name != "resnet50"):
        raise InputError(
            f"Of BAS for {task}, no {name} was published.",
            hint="--arch resnet50" if task == "segmentation" else f"--arch {_known()}",
        )
    if task == "segmentation" and release == "bas":
        raise InputError(
            "Segmentation came with the release bas-extension, not with bas.",
            hint="Leave --release out.",
        )
    tensors, facts = read_weights(path)
    stated = release or _release(tensors, facts, task)
    tensors = {  # of the first release, InceptionV3's class head has a name of its own
        re.sub(r"^classifier\.", "classifier_cls.", key): value for key, value in tensors.items()
    }
    copies = [key for key in tensors if _COPIES.match(key)]
    found = {
        key: value
        for key, value in tensors.items()
        if key not in copies and not key.endswith("num_batches_tracked")
    }
    if "classifier_loc.0.weight" not in found:
        raise InputError(
            f"{path} has no classifier_loc.0.weight, the generator, so it is no checkpoint of BAS.",
            hint="Backbone weights go to: bas-edge train --pretrained.",
        )
    count, width = _size(name, task, found, path)
    if stated is None:
        raise InputError(
            f"{path} does not say of which release it is, and they differ: class maps of the first "
            "pass a ReLU.",
            hint="--release bas (of 2022, github.com/wpy1999/BAS) or --release bas-extension.",
        )
    model = build_model(_config(name, task, stated, count, width)).eval()
    with torch.no_grad():
        _fill(model, backbone, found)
    names = tuple(classes) if classes is not None else tuple(f"class {i}" for i in range(count))
    if len(names) != count:
        raise InputError(f"{len(names)} class names for the {count} classes of {path}.")
    told = facts.get("epoch", "")
    epoch = int(told) if told.isdecimal() else 0
    info = CheckpointInfo(
        model=model.config,
        classes=names,
        recipe=recipe or "unknown",
        recipe_sha256="" if trained_by is None else trained_by.sha256,
        recipe_content={} if trained_by is None else trained_by.to_dict(),
        data=DataSummary(source="", images=0, validation=0, background=0),
        pretrained=path.name,
        epoch=epoch,
        step=0,
        seconds=0.0,
        finished=True,
        metrics={},
        threshold=None
        if trained_by is None or recipe is None
        else run_threshold(model, _NO_FRAMES, trained_by.localization, recipe),
    )
    make_folder(output)
    save_checkpoint(checkpoint, model.state_dict(), info)
    return ImportReport(
        checkpoint=checkpoint,
        source=path,
        architecture=name,
        task=task,
        release=stated,
        classes=count,
        tensors=len(found),
        copies=len(copies),
        epoch=epoch,
        next_command=_next_command(output, task, unmeasured=info.threshold is None),
    )


def published_shapes(
    architecture: str, task: Task, classes: int, width: float = 1.0
) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor of a published checkpoint that is needed, in its order."""
    with torch.device("meta"):
        model = build_model(_config(architecture, task, "bas-extension", classes, width))
    return _needed(model, find_backbone(architecture))


def _next_command(output: Path, task: Task, *, unmeasured: bool) -> str:
    run = shlex.quote(str(output))
    if task == "segmentation":
        return f"bas-edge seeds {run} DATA -o {shlex.quote(f'{output}_masks')}"
    return f"bas-edge export {run}" + " --images FOLDER" * unmeasured


def _known() -> str:
    return ", ".join(PUBLISHED_NAMES.values())


def _release(tensors: Mapping[str, Tensor], facts: Mapping[str, str], task: Task) -> Release | None:
    """What the file says; None where it does not."""
    first = any(_COPIES.match(key) or key.startswith("classifier.") for key in tensors)
    if task == "segmentation" or ("best_thr" in facts and not first):
        return "bas-extension"
    return "bas" if first else None


def _size(name: str, task: Task, found: Mapping[str, Tensor], path: Path) -> tuple[int, float]:
    """Classes and width of the file, after all its names and shapes fit."""
    generator, width = found["classifier_loc.0.weight"], 1.0
    if generator.dim() != 4 or not len(generator):
        raise InputError(
            f"{path}: classifier_loc.0.weight has shape {list(generator.shape)}, but a generator "
            "of BAS has [classes, channels, 3, 3] there.",
            hint="Is it a published checkpoint?",
        )
    classes = len(generator)
    needed = published_shapes(name, task, classes)
    stem, shape = next(iter(needed.items()))
    if stem in found and found[stem].dim() == 4 and 0 < len(found[stem]) < 2 * shape[0]:
        width = len(found[stem]) / shape[0]
        needed = published_shapes(name, task, classes, width)
    missing = [key for key in needed if key not in found]
    left = [key for key in found if key not in needed]
    if missing or left:
        raise InputError(
            f"{path} is no {name} of BAS for {task}: "
            f"{_names(missing, 'missing')}; {_names(left, 'left over')}.",
            hint=_other(found),
        )
    bent = [key for key, shape in needed.items() if tuple(found[key].shape) != shape]
    if bent:
        key = bent[0]
        raise InputError(
            f"{path}: {key} has shape {list(found[key].shape)}, but a {name} of BAS has "
            f"{list(needed[key])} there ({len(bent)} of {len(needed)} tensors have another shape)."
        )
    return classes, width


def _other(found: Mapping[str, Tensor]) -> str:
    """Which options fit the names of a file, if any do."""
    for name in PUBLISHED_NAMES.values():
        if published_shapes(name, "localization", 1).keys() == found.keys():
            return f"It is a {name}: --arch {name}"
    if published_shapes("resnet50", "segmentation", 1).keys() == found.keys():
        return "It is BAS for segmentation: --arch resnet50 --task segmentation"
    return f"Other architectures: --arch {_known()}; and --task segmentation."


def _config(name: str, task: Task, release: Release, classes: int, width: float) -> ModelConfig:
    segments = task == "segmentation"
    return ModelConfig(
        architecture=name,
        width=width,
        head="segmentation" if segments else "paper",
        num_classes=classes,
        map_stride=16 if segments else 8,
        atrous=False,
        centred=False,
        norm="batch" if find_backbone(name).batch_norm else "none",
        input_size=448 if segments else 224,
        conventions=TORCHVISION,
        rectified=release == "bas",
    )


def _needed(model: BasModel, backbone: Backbone) -> dict[str, tuple[int, ...]]:
    """Every tensor of the published file and its shape, in order."""
    assert backbone.published is not None
    needed: dict[str, tuple[int, ...]] = {}
    for place, unit in backbone_units(model).items():
        conv, norm = backbone.published.names(place)
        needed[f"{conv}.weight"] = tuple(unit.conv.weight.shape)
        if unit.conv.bias is not None:
            needed[f"{conv}.bias"] = tuple(unit.conv.bias.shape)
        if norm:
            needed |= {f"{norm}.{key}": tuple(unit.conv.weight.shape[:1]) for key in BN_KEYS}
    for key, parameter in _heads(model).items():
        needed[key] = tuple(parameter.shape)
    return needed


def _heads(model: BasModel) -> dict[str, Tensor]:
    """Published names of the class head's and the generator's tensors."""
    head = model.head
    layers = {"classifier_loc.0": model.generator.conv}
    if head.kind == "paper":
        convs = (head.conv1, head.conv2, head.classifier)
        layers |= {f"classifier_cls.{2 * i}": conv for i, conv in enumerate(convs)}
    else:
        layers["classifier_cls"] = head.classifier
    return {
        f"{name}.{kind}": parameter
        for name, layer in layers.items()
        for kind, parameter in layer.named_parameters()
    }


def _fill(model: BasModel, backbone: Backbone, found: Mapping[str, Tensor]) -> None:
    assert backbone.published is not None
    for place, unit in backbone_units(model).items():
        conv, norm = backbone.published.names(place)
        bn = {key: found[f"{norm}.{key}"] for key in BN_KEYS} if norm else None
        fill_unit(unit, Layer(found[f"{conv}.weight"], found.get(f"{conv}.bias"), bn), conv)
    for key, parameter in _heads(model).items():
        parameter.copy_(found[key])


def _names(keys: Sequence[str], what: str) -> str:
    """So many are so, with the first of them: "1 missing (a)", or "none missing"."""
    if not keys:
        return f"none {what}"
    more = ", …" if len(keys) > _LISTED else ""
    return f"{len(keys)} {what} ({', '.join(keys[:_LISTED])}{more})"
