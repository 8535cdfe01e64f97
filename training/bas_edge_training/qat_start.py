"""Where a quantization-aware training begins: a trained checkpoint, and a recipe made from its own.

It is a finetuning: the weights are good already and learn to live with rounding, so it takes a
few epochs at a small learning rate, and terms of the loss that once had to rise are there at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from bas_edge.errors import InputError
from bas_edge_training.checkpoint import CheckpointInfo, load_checkpoint
from bas_edge_training.models import BasModel, find_backbone, fold_batch_norm
from bas_edge_training.recipe import (
    ModelSection,
    Recipe,
    apply_overrides,
    load_recipe,
    recipe_differences,
    recipe_from_mapping,
)
from bas_edge_training.recipe_task import require_task

__all__ = ["EPOCHS", "LR_SHARE", "QatStart", "read_qat_start"]

EPOCHS = 2
LR_SHARE = 0.05  # of the checkpoint's own learning rate
_WARMUP_STEPS = 10


@dataclass(frozen=True, slots=True)
class QatStart:
    """A checkpoint to finetune.

    Attributes:
        path: The file.
        model: With BatchNorm folded; nothing is rounded yet.
        info: Its description.
    """

    path: Path
    model: BasModel
    info: CheckpointInfo

    def recipe(
        self, given: Recipe | str | Path | None, overrides: Iterable[str]
    ) -> tuple[str, Recipe]:
        """Name and recipe of the run: the one given, or a short form of the checkpoint's own.

        In both, `[model]` and `data.crop` are those of the checkpoint.

        Raises:
            InputError: An override cannot be used, or asks for another model.
        """
        overrides = list(overrides)
        if isinstance(given, Recipe):
            name, base = "custom", given
        elif given is not None:
            name, base = Path(given).stem, load_recipe(given)
            require_task(base, given, "localization")
        else:
            name, base = f"{self.info.recipe}, qat", self._shortened()
        fitted = self._fitted(base)
        chosen = apply_overrides(fitted, overrides)
        for difference in recipe_differences(fitted, chosen):
            if difference.startswith(("model.", "data.crop ")):
                raise InputError(
                    f"The model of {self.path} stays what it is, but the recipe changes "
                    f"{difference}.",
                    hint="Train another model without --qat first.",
                )
        return ", ".join([name, *overrides]), chosen

    def check_classes(self, classes: Sequence[str], source: Path) -> None:
        """Raise InputError where data have other classes, or the same in another order."""
        own = self.info.classes
        if tuple(classes) == own:
            return
        if len(classes) != len(own):
            differing = f"{len(own)} classes, {source} has {len(classes)}"
        else:
            at = next(i for i, name in enumerate(own) if classes[i] != name)
            differing = f"'{own[at]}' as class {at}, {source} has '{classes[at]}'"
        raise InputError(
            f"{self.path} knows {differing}.",
            hint="Give the data that it was trained on, or more of the same classes.",
        )

    def _shortened(self) -> Recipe:
        began = recipe_from_mapping(self.info.recipe_content, f"the recipe of {self.path}")
        replace = msgspec.structs.replace
        return replace(
            began,
            loss=replace(began.loss, warmup_steps=0),
            optimizer=replace(began.optimizer, lr=LR_SHARE * began.optimizer.lr),
            schedule=replace(
                began.schedule,
                epochs=EPOCHS,
                steps=0,
                kind="cosine",
                warmup_steps=_WARMUP_STEPS,
                max_minutes=0.0,
            ),
            training=replace(began.training, ema=0.0),
        )

    def _fitted(self, recipe: Recipe) -> Recipe:
        config = self.model.config
        model = ModelSection(
            architecture=config.architecture,
            width=config.width,
            map_stride=config.map_stride,
            head=config.head,
            atrous=config.atrous,
            centred=config.centred,
            norm=config.norm,
        )
        side = config.input_size
        data = msgspec.structs.replace(recipe.data, crop=side, resize=max(side, recipe.data.resize))
        return msgspec.structs.replace(recipe, model=model, data=data)


def read_qat_start(checkpoint: str | Path) -> QatStart:
    """Read a checkpoint or the run folder that holds it, and fold its BatchNorm.

    Raises:
        InputError: It cannot be read, or its backbone cannot be rounded.
    """
    loaded = load_checkpoint(checkpoint)
    architecture = loaded.info.model.architecture
    if find_backbone(architecture).foreign:
        raise InputError(
            f"{architecture} cannot be trained while it is rounded: its layers pass no Seams.",
            hint="bas-edge build-engine --precision int8 quantizes it after training.",
        )
    return QatStart(loaded.path, fold_batch_norm(loaded.model), loaded.info)
