"""What could not be written at the end is refused at the beginning."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bas_edge.cli.destinations import claim_files
from bas_edge.errors import InputError

Say = Callable[..., tuple[int, str, str]]


def test_folders_of_files_to_come_are_made(tmp_path: Path) -> None:
    claim_files(None, tmp_path / "new" / "report.json", picture=tmp_path / "other" / "sheet.PNG")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "other"]
    claim_files(None)


def test_what_cannot_be_written_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="is a folder"):
        claim_files(tmp_path)
    with pytest.raises(InputError, match=r"Cannot create .*file: File exists\."):
        claim_files(tmp_path / "file" / "report.json")
    with pytest.raises(InputError, match=r"sheet\.txt has no ending of a picture") as caught:
        claim_files(picture=tmp_path / "sheet.txt")
    assert str(caught.value.hint).endswith("sheet.png instead.")
    monkeypatch.setattr("os.access", lambda _path, _mode: False)  # the tests may run as root
    with pytest.raises(InputError, match=r"report\.json cannot be written here"):
        claim_files(tmp_path / "report.json")


@pytest.mark.usefixtures("workplace")
def test_evaluate_does_not_begin(say: Say) -> None:
    Path("file").touch()
    code, _, err = say("evaluate", "tiny.onnx", "no_such.csv", "-o", "file/report.json")
    assert code == InputError.exit_code
    assert (
        "Cannot create file: File exists." in err
    )  # and nothing of the data, which it did not read
