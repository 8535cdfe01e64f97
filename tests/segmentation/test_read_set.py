"""Sets with several labels an image are not mistaken for a folder a class."""

from __future__ import annotations

from pathlib import Path

import pytest

from bas_edge.annotations import read_annotations
from bas_edge.errors import InputError
from bas_edge.segmentation.read_set import is_image_set


@pytest.mark.parametrize("layout", ["voc", "coco", "index"])
@pytest.mark.parametrize("split", [None, "train"])
def test_its_folders_of_images_and_masks_are_no_classes(
    layout: str, split: str | None, request: pytest.FixtureRequest
) -> None:
    root = request.getfixturevalue(layout)
    with pytest.raises(InputError, match="several labels an image, not a folder a class") as caught:
        read_annotations(root, split=split, purpose="training")
    assert "--task segmentation" in str(caught.value.hint)


def test_an_index_alone_is_not_enough(tmp_path: Path) -> None:
    (tmp_path / "index.csv").touch()
    assert not is_image_set(tmp_path, complete=True)
