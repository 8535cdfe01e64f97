from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bas_edge.errors import InputError
from bas_edge_training.recipe import (
    Recipe,
    apply_overrides,
    load_recipe,
    recipe_differences,
    recipe_names,
    tomllib,
)

OLDER = {
    "cub50_edge": "2d0fbcfcfdfa",
    "cub50_paper": "9042fbd07dd9",
    "default": "7bac724930d5",
    "demo": "8a0887d1161f",
}


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def as_toml(recipe: Recipe) -> dict[str, dict[str, Any]]:
    """What a TOML file of all its values holds."""
    content: dict[str, dict[str, Any]] = msgspec.json.decode(msgspec.json.encode(recipe))
    return content


def test_default_recipe_states_every_key_with_its_default() -> None:
    import bas_edge_training

    folder = Path(bas_edge_training.__file__).parent / "recipes"
    content = tomllib.loads((folder / "default.toml").read_text(encoding="utf-8"))
    assert content == as_toml(Recipe())


def test_documentation_lists_every_key_with_its_default() -> None:
    text = (Path(__file__).parents[2] / "docs" / "training.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(\w+\.\w+)` \| `?([^`|]+?)`? \|", text, flags=re.MULTILINE))
    defaults = {
        f"{section}.{key}": value
        for section, table in as_toml(Recipe()).items()
        for key, value in table.items()
    }
    rows = {key: rows[key] for key in rows if key.partition(".")[0] in Recipe.__struct_fields__}
    assert rows.keys() == defaults.keys()
    for key, value in defaults.items():
        expected = str(value).lower() if isinstance(value, bool) else value
        assert rows[key] == str(expected) or float(rows[key]) == expected, key


@pytest.mark.parametrize("name", recipe_names())
def test_installed_recipes_are_valid(name: str) -> None:
    assert load_recipe(name).data.crop >= 32


def test_recipe_without_keys_is_the_default(tmp_path: Path) -> None:
    assert load_recipe(write(tmp_path / "empty.toml", "")) == Recipe()


def test_unknown_key_names_file_and_nearest_key(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.toml", "[optimizer]\nlearning_rate = 1\nmomentun = 0.9\n")
    with pytest.raises(InputError, match=r"mine\.toml: unknown key optimizer\.learning_rate"):
        load_recipe(path)
    path = write(tmp_path / "mine.toml", "[optimizer]\nmomentun = 0.9\n")
    with pytest.raises(InputError, match=r"optimizer\.momentun") as caught:
        load_recipe(path)
    assert "Did you mean 'momentum'?" in str(caught.value.hint)


def test_unknown_section_names_nearest_section(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.toml", "[optimiser]\nlr = 1\n")
    with pytest.raises(InputError, match=r"unknown section \[optimiser\]") as caught:
        load_recipe(path)
    assert "Did you mean 'optimizer'?" in str(caught.value.hint)


def test_key_outside_its_section(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="data is a section, but it is set to 3"):
        load_recipe(write(tmp_path / "mine.toml", "data = 3\n"))


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("[optimizer]\nlr = -1\n", "optimizer.lr"),
        ("[optimizer]\nlr = 'fast'\n", "optimizer.lr"),
        ("[data]\nbatch_size = 0\n", "data.batch_size"),
        ("[training]\nprecision = 'float8'\n", "training.precision"),
        ("[validation]\nfraction = 0.9\n", "validation.fraction"),
        ("[machine]\ndevice = 'gpu'\n", "machine.device"),
    ],
)
def test_values_out_of_range_name_file_and_key(tmp_path: Path, text: str, place: str) -> None:
    with pytest.raises(InputError) as caught:
        load_recipe(write(tmp_path / "mine.toml", text))
    assert str(caught.value).startswith(f"{tmp_path / 'mine.toml'}, {place}: ")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data.crop=256", "data.resize=224"], "data.crop is 256 but data.resize is only 224"),
        (["data.crop=100"], "data.crop is 100, which is not a multiple of 16"),
        (["optimizer.momentum=0"], "optimizer.nesterov is true but optimizer.momentum is 0"),
        (["schedule.kind=step"], r'kind is "step" but schedule.decay_epochs is empty'),
        (
            ["schedule.kind=step", "schedule.decay_epochs=[4, 2]"],
            r"decay_epochs is \[4, 2\], which is not ascending",
        ),
    ],
)
def test_keys_that_contradict_each_other(overrides: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_recipe("default", overrides)


def test_overrides_keep_their_types() -> None:
    recipe = load_recipe(
        "default",
        ["optimizer.lr=0.002", "data.flip=false", "schedule.kind=cosine", "data.batch_size = 8"],
    )
    assert recipe.optimizer.lr == 0.002
    assert recipe.data.flip is False
    assert recipe.schedule.kind == "cosine"
    assert recipe.data.batch_size == 8


def test_overrides_are_checked_together() -> None:
    recipe = load_recipe("default", ["data.crop=320", "data.resize=352"])
    assert (recipe.data.crop, recipe.data.resize) == (320, 352)


@pytest.mark.parametrize("override", ["lr=1", "optimizer.lr", "optimizer.=1", "=1"])
def test_malformed_override(override: str) -> None:
    with pytest.raises(InputError, match=r"not of the form section\.key=value"):
        load_recipe("default", [override])


def test_unknown_override_has_a_suggestion() -> None:
    with pytest.raises(InputError, match=r"--set: unknown key schedule\.epoch") as caught:
        load_recipe("default", ["schedule.epoch=3"])
    assert "Did you mean 'epochs'?" in str(caught.value.hint)


def test_hash_ignores_order_comments_and_machine(tmp_path: Path) -> None:
    one = load_recipe(write(tmp_path / "a.toml", "[data]\ncrop = 192\n[optimizer]\nlr = 0.01\n"))
    two = load_recipe(
        write(
            tmp_path / "b.toml",
            "# same\n[optimizer]\nlr = 1e-2\n[data]\ncrop = 192\n[machine]\nworkers = 7\n",
        )
    )
    assert one.sha256 == two.sha256
    assert recipe_differences(one, two) == []
    three = apply_overrides(one, ["optimizer.lr=0.02"])
    assert three.sha256 != one.sha256
    assert recipe_differences(one, three) == ["optimizer.lr (0.01, 0.02)"]


def test_recipes_of_before_keep_their_hash() -> None:
    """Keys that were added since count only where they are set: runs can still be resumed."""
    assert {name: load_recipe(name).sha256[:12] for name in OLDER} == OLDER
    changed = ["model.map_stride=16", "qat.images=3", "schedule.kind=cosine"]
    assert load_recipe("default", changed).sha256[:12] == "411b511b2064"
    for override in ("localization.top_k=1", "localization.threshold=0.1"):
        assert load_recipe("default", [override]).sha256 != load_recipe("default").sha256
    step = ["schedule.kind=step", "schedule.decay_epochs=[3]"]
    half = [*step, "schedule.decay_factor=0.5"]
    assert load_recipe("default", step).sha256 != load_recipe("default", half).sha256


def test_missing_recipe_lists_the_installed_ones() -> None:
    with pytest.raises(InputError, match="Cannot read the recipe cub") as caught:
        load_recipe("cub")
    assert "default" in str(caught.value.hint)
    with pytest.raises(InputError, match="Cannot read the recipe cub_vgg16_publised") as caught:
        load_recipe("cub_vgg16_publised")
    assert str(caught.value.hint).startswith("Did you mean 'cub_vgg16_published'? Give a path")


@pytest.mark.parametrize("epochs", [1, 6])
def test_a_published_recipe_for_fewer_epochs_says_what_works_instead(epochs: int) -> None:
    with pytest.raises(InputError, match=f"80 but the run ends after {epochs} epochs") as caught:
        load_recipe("cub_vgg16_published", [f"schedule.epochs={epochs}"])
    options = re.findall(r"--set (\S+)", str(caught.value.hint))
    assert load_recipe("cub_vgg16_published", options).schedule.steps == 1000


def test_file_that_is_not_toml(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"mine\.toml is not valid TOML"):
        load_recipe(write(tmp_path / "mine.toml", "[data\n"))
