"""Recipes: everything that decides the weights, in one TOML file.

`[machine]` says how to run (threads, workers, cache): it never changes the
weights, so it is left out of the recipe's hash and may differ on a resume.
"""

from __future__ import annotations

import difflib
import hashlib
import sys
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from bas_edge.errors import InputError
from bas_edge.quantization.codes import Flavour
from bas_edge.quantization.ranges import METHODS
from bas_edge_training.published_recipes import PUBLISHED_FILE, published_recipes

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = [
    "BackgroundSection",
    "DataSection",
    "LocalizationSection",
    "LossSection",
    "MachineSection",
    "ModelSection",
    "OptimizerSection",
    "QatSection",
    "Recipe",
    "ScheduleSection",
    "TrainingSection",
    "ValidationSection",
    "apply_overrides",
    "load_recipe",
    "recipe_differences",
    "recipe_from_mapping",
    "recipe_names",
]

Positive = Annotated[float, msgspec.Meta(gt=0)]
NotNegative = Annotated[float, msgspec.Meta(ge=0)]
Fraction = Annotated[float, msgspec.Meta(ge=0, lt=1)]
Count = Annotated[int, msgspec.Meta(ge=0)]
PositiveCount = Annotated[int, msgspec.Meta(ge=1)]
Side = Annotated[int, msgspec.Meta(ge=32, le=1024)]

_LATER_KEYS: dict[tuple[str, str], Any] = {  # and the value that stands for their absence
    ("model", "map_stride"): 8,
    ("schedule", "decay_epochs"): [],
    ("schedule", "decay_factor"): 0.1,
    ("training", "accumulate"): 1,
    ("training", "compile"): False,
}


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One table of a recipe."""


class ModelSection(Section, frozen=True, kw_only=True):
    """What to train. The number of classes comes from the data.

    `norm` "auto" is "none" after pretrained weights (BatchNorm is folded into them), and for a
    backbone that has no BatchNorm; "batch" from scratch. `task` is what the recipe is for: it
    changes no weights, and is not part of the recipe's hash (recipe_task.py).
    """

    task: Literal["any", "localization", "segmentation", "segmenter"] = "any"
    architecture: str = "mobilenet_v1"
    width: Annotated[float, msgspec.Meta(gt=0, le=2)] = 1.0
    head: Literal["edge", "paper", "segmentation"] = "edge"
    map_stride: Literal[8, 16] = 8
    atrous: bool = True
    centred: bool = True
    norm: Literal["auto", "none", "batch"] = "auto"


class DataSection(Section, frozen=True, kw_only=True):
    """Each image is stretched to `resize`² once, then cropped at random to `crop`² and flipped."""

    resize: Side = 256
    crop: Side = 224
    flip: bool = True
    batch_size: PositiveCount = 32


class BackgroundSection(Section, frozen=True, kw_only=True):
    """How images without any object are used, where there are some."""

    weight: NotNegative = 1.0
    per_batch: PositiveCount = 4


class LossSection(Section, frozen=True, kw_only=True):
    """L = CE + alpha·CE(foreground) + background suppression + beta·area.

    Over `warmup_steps` the suppression, `beta` and the background images' weight rise from 0.
    From scratch, or under new layers, the scores have to come first: L_bas divides by a score
    that is still about 0, and the area empties maps that nothing holds open yet.
    """

    alpha: NotNegative = 0.5
    beta: NotNegative = 1.9
    warmup_steps: Count = 0


class OptimizerSection(Section, frozen=True, kw_only=True):
    """SGD. `lr` is the backbone's; biases and heads have the published multiples of it."""

    lr: Positive = 0.001
    momentum: Fraction = 0.9
    nesterov: bool = True
    weight_decay: NotNegative = 0.0005
    weight_decay_depthwise: NotNegative = 0.0


class ScheduleSection(Section, frozen=True, kw_only=True):
    """How long, and how the learning rate falls. `steps`, where not 0, replaces `epochs`.

    "step" multiplies it with `decay_factor` after each of `decay_epochs`, told in `epochs`.
    """

    epochs: PositiveCount = 12
    steps: Count = 0
    kind: Literal["poly", "cosine", "step", "constant"] = "poly"
    power: Positive = 0.9
    decay_epochs: tuple[PositiveCount, ...] = ()
    decay_factor: Annotated[float, msgspec.Meta(gt=0, lt=1)] = 0.1
    warmup_steps: Count = 40
    max_minutes: NotNegative = 0.0


class TrainingSection(Section, frozen=True, kw_only=True):
    """How the arithmetic is done. `ema` is the decay of the averaged weights; 0 is off.

    `accumulate` computes a batch in so many parts, one after another, and sums their gradients.
    """

    seed: Annotated[int, msgspec.Meta(ge=0, lt=2**32)] = 0
    deterministic: bool = False
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    channels_last: bool = True
    ema: Fraction = 0.0
    accumulate: PositiveCount = 1
    compile: bool = False


class QatSection(Section, frozen=True, kw_only=True):
    """What `--qat` rounds like, and how ranges are chosen: on so many training images, once."""

    flavour: Flavour = "tensorrt"
    ranges: str = "mse"
    images: PositiveCount = 64


class LocalizationSection(Section, frozen=True, kw_only=True):
    """How maps become boxes, where a recipe says it; 0 leaves it to what is measured.

    `top_k` maps are averaged, or all of fewer classes, and cut at `threshold` of their range.
    """

    top_k: Count = 0
    threshold: Fraction = 0.0


class ValidationSection(Section, frozen=True, kw_only=True):
    """The part of the labelled images held out, per class, when no other set is given."""

    fraction: Annotated[float, msgspec.Meta(ge=0, le=0.5)] = 0.1


class MachineSection(Section, frozen=True, kw_only=True):
    """How to run here. Not part of the recipe's hash."""

    device: Annotated[str, msgspec.Meta(pattern=r"^(auto|cpu|cuda(:\d+)?)$")] = "auto"
    threads: Count = 0
    workers: Count = 2
    cache: Literal["auto", "on", "off"] = "auto"
    save_minutes: Positive = 5.0


class Recipe(Section, frozen=True, kw_only=True):
    """A validated recipe. Equal recipes have equal `sha256`, whatever their file looks like."""

    model: ModelSection = ModelSection()
    data: DataSection = DataSection()
    background: BackgroundSection = BackgroundSection()
    loss: LossSection = LossSection()
    optimizer: OptimizerSection = OptimizerSection()
    schedule: ScheduleSection = ScheduleSection()
    training: TrainingSection = TrainingSection()
    qat: QatSection = QatSection()
    localization: LocalizationSection = LocalizationSection()
    validation: ValidationSection = ValidationSection()
    machine: MachineSection = MachineSection()

    def __post_init__(self) -> None:
        """Check what a single field cannot know. msgspec names the place of a ValueError."""
        if self.data.crop > self.data.resize:
            raise ValueError(
                f"data.crop is {self.data.crop} but data.resize is only {self.data.resize}"
            )
        if self.data.crop % 16:
            raise ValueError(f"data.crop is {self.data.crop}, which is not a multiple of 16")
        if self.optimizer.nesterov and self.optimizer.momentum == 0:
            raise ValueError("optimizer.nesterov is true but optimizer.momentum is 0")
        self._check_decay()
        if self.training.accumulate > self.data.batch_size:
            raise ValueError(
                f"training.accumulate is {self.training.accumulate} but data.batch_size is only "
                f"{self.data.batch_size}"
            )
        if self.qat.ranges not in METHODS:
            known = ", ".join(METHODS)
            raise ValueError(f"qat.ranges is '{self.qat.ranges}', not one of {known}")

    def _check_decay(self) -> None:
        epochs = list(self.schedule.decay_epochs)
        if self.schedule.kind != "step":
            return
        if not epochs:
            raise ValueError('schedule.kind is "step" but schedule.decay_epochs is empty')
        if epochs != sorted(set(epochs)):
            raise ValueError(f"schedule.decay_epochs is {epochs}, which is not ascending")
        if epochs[-1] >= self.schedule.epochs:
            raise ValueError(
                f"schedule.decay_epochs has {epochs[-1]} but the run ends after "
                f"{self.schedule.epochs} epochs"
            )

    @property
    def sha256(self) -> str:
        """Hash of the canonical JSON of every section but `[machine]`, without `model.task`.

        A key that recipes had not from the start counts only where it is not at its default, so
        that what was hashed before it existed keeps its hash.
        """
        sections = self.to_dict()
        del sections["model"]["task"]
        for (section, key), default in _LATER_KEYS.items():
            if sections[section][key] == default:
                del sections[section][key]
        content = msgspec.json.encode(sections, order="sorted")
        return hashlib.sha256(content).hexdigest()

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """Every section but `[machine]`, as the plain values that JSON has.

        `[qat]` and `[localization]` are left out where nothing in them was changed, as most runs
        have no use for them.
        """
        sections: dict[str, dict[str, Any]] = msgspec.json.decode(msgspec.json.encode(self))
        del sections["machine"]
        for name, default in (("qat", QatSection()), ("localization", LocalizationSection())):
            if getattr(self, name) == default:
                del sections[name]
        return sections


def recipe_names() -> list[str]:
    """Names of the recipes that are installed with the package."""
    folder = resources.files("bas_edge_training") / "recipes"
    files = [
        entry.name.removesuffix(".toml")
        for entry in folder.iterdir()
        if entry.name.endswith(".toml") and entry.name != PUBLISHED_FILE
    ]
    return sorted([*files, *published_recipes()])


def load_recipe(source: str | Path = "default", overrides: Iterable[str] = ()) -> Recipe:
    """Read a recipe by installed name or by path, and apply `section.key=value` overrides.

    Raises:
        InputError: No such recipe, not TOML, an unknown key (with a suggestion),
            or a value of the wrong type or out of range.
    """
    if str(source) in published_recipes():
        content = published_recipes()[str(source)]
        return apply_overrides(recipe_from_mapping(content, str(source)), overrides)
    name, text = _read(source)
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{name} is not valid TOML: {error}.") from None
    return apply_overrides(recipe_from_mapping(content, name), overrides)


def apply_overrides(recipe: Recipe, overrides: Iterable[str]) -> Recipe:
    """A recipe with `section.key=value` strings applied, all of them before it is checked."""
    content: dict[str, dict[str, Any]] = msgspec.to_builtins(recipe)
    for override in overrides:
        section, key, value = _parse_override(override)
        content[section][key] = value
    return recipe_from_mapping(content, "--set")


def recipe_from_mapping(content: Mapping[str, Any], name: str) -> Recipe:
    """Validate the content of a recipe; `name` is what errors call it."""
    _check_keys(content, name)
    try:
        return msgspec.convert(content, Recipe)
    except msgspec.ValidationError as error:
        reason, _, place = str(error).partition(" - at `$")
        key = place.strip("`.")
        where = f"{name}, {key}" if key else name
        hint = "docs/training.md lists each key and its range."
        if "decay_epochs has" in reason:  # met by whoever tries a published recipe for less long
            hint = "Leave the epochs as they are, and shorten them all: --set schedule.steps=1000"
        raise InputError(f"{where}: {reason}.", hint=hint) from None


def recipe_differences(one: Recipe, other: Recipe) -> list[str]:
    """The keys that differ, as `section.key (value, other value)`.

    `[machine]` and `model.task` are ignored: they change no weights.
    """
    left, right = (msgspec.to_builtins(recipe) for recipe in (one, other))
    return [
        f"{section}.{key} ({left[section][key]!r}, {right[section][key]!r})"
        for section in left
        if section != "machine"
        for key in left[section]
        if (section, key) != ("model", "task") and left[section][key] != right[section][key]
    ]


def _read(source: str | Path) -> tuple[str, str]:
    """Display name and text of a recipe."""
    path = Path(source)
    if path.suffix != ".toml" and str(source) in recipe_names():
        entry = resources.files("bas_edge_training") / "recipes" / f"{source}.toml"
        return entry.name, entry.read_text(encoding="utf-8")
    try:
        return str(path), path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        names = recipe_names()
        close = difflib.get_close_matches(str(source), names, n=1)
        guess = f"Did you mean '{close[0]}'? " if close else ""
        raise InputError(
            f"Cannot read the recipe {source}: {reason}.",
            hint=f"{guess}Give a path to a .toml file, or one of: {', '.join(names)}.",
        ) from None


def _check_keys(content: Mapping[str, Any], name: str) -> None:
    """Refuse unknown sections and keys, with the nearest known one."""
    sections = {field.name: field.type for field in msgspec.structs.fields(Recipe)}
    for section, table in content.items():
        if section not in sections:
            raise _unknown(f"[{section}]", section, list(sections), name, "section")
        if not isinstance(table, Mapping):
            raise InputError(
                f"{name}: {section} is a section, but it is set to {table!r}.",
                hint=f"Write [{section}] on a line of its own and its keys below.",
            )
        keys = [field.name for field in msgspec.structs.fields(sections[section])]
        for key in table:
            if key not in keys:
                raise _unknown(f"{section}.{key}", key, keys, name, "key")


def _unknown(place: str, word: str, known: list[str], name: str, what: str) -> InputError:
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    guess = f"Did you mean '{close[0]}'? " if close else ""
    return InputError(f"{name}: unknown {what} {place}.", hint=f"{guess}Known: {', '.join(known)}.")


def _parse_override(override: str) -> tuple[str, str, Any]:
    """Split `section.key=value`; a value that is not TOML is taken as a string."""
    place, equals, text = override.partition("=")
    section, dot, key = place.strip().partition(".")
    if not (equals and dot and section and key):
        raise InputError(
            f"The override {override!r} is not of the form section.key=value.",
            hint="For example: --set optimizer.lr=0.002",
        )
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    _check_keys({section: {key: value}}, "--set")
    return section, key, value
