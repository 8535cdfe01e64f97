"""What every verb has in common: help, versions, errors, exit codes."""

from __future__ import annotations

import errno
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer
import typer.main

import bas_edge
from bas_edge import errors
from bas_edge.cli import main
from bas_edge.cli.app import VERBS, app

ROOT = Path(__file__).resolve().parents[2]


def test_help_names_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    printed = capsys.readouterr().out
    assert all(verb in printed for verb in VERBS)


def test_no_arguments_is_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert "build-engine" in capsys.readouterr().out


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_and_json(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([verb, "--help"]) == 0
    assert "--json" in capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"bas-edge {bas_edge.__version__}\n"


def test_help_and_doctor_leave_heavy_libraries_alone() -> None:
    heavy = "('torch', 'onnx', 'matplotlib', 'bas_edge_training')"
    code = (
        "import sys\n"
        "from bas_edge.cli import main\n"
        "main(['--help']); main(['train', '--help'])\n"
        f"late = {heavy} + ('onnxruntime', 'av', 'numpy', 'PIL')\n"
        "assert not [m for m in late if m in sys.modules], sys.modules.keys()\n"
        "main(['doctor'])\n"
        f"assert not [m for m in {heavy} if m in sys.modules]\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, cwd=ROOT)


@pytest.mark.parametrize(
    ("typed", "message", "hint"),
    [
        (["benchmrak"], "There is no verb 'benchmrak'.", "Did you mean 'benchmark'?"),
        (["xyzzy"], "There is no verb 'xyzzy'.", f"The verbs are: {', '.join(VERBS)}."),
        (
            ["run", "a.engine", "b.jpg", "--thresold", "1"],
            "No such option: --thresold.",
            "Did you mean --threshold?",
        ),
        (["inspect", "a.engine", "--zzz"], "No such option: --zzz.", "bas-edge inspect --help"),
        (["--versoin"], "No such option: --versoin.", "Did you mean --version?"),
        (["inspect"], "Missing argument 'ENGINE'.", "bas-edge inspect --help"),
    ],
)
def test_typing_errors_get_a_suggestion(
    typed: list[str], message: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(typed) == errors.InputError.exit_code
    said = capsys.readouterr()
    assert said.err == f"bas-edge: {message}\n  hint: {hint}\n"
    assert said.out == ""


def test_with_json_an_error_is_also_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "nothing.engine", "--json"]) == 2
    said = capsys.readouterr()
    assert said.err.startswith("bas-edge: No such engine: nothing.engine.\n  hint: ")
    assert json.loads(said.out) == {
        "error": "No such engine: nothing.engine.",
        "hint": "Check the path.",
        "exit_code": 2,
    }


def failing(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def describe(path: object) -> None:
        raise error

    monkeypatch.setattr("bas_edge.engine.inspect.describe", describe)


@pytest.mark.parametrize(
    "kind", [kind for name in errors.__all__ if hasattr(kind := getattr(errors, name), "exit_code")]
)
def test_every_error_reaches_its_exit_code(
    kind: type[errors.BasEdgeError],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if kind is errors.MissingExtraError:
        error = errors.MissingExtraError("av", extra="video", purpose="Reading a video")
    elif kind is errors.EngineMismatchError:
        error = errors.EngineMismatchError("a.plan", built_for="sm_80", running_on="sm_87")
    else:
        error = kind("A sentence.")
    failing(monkeypatch, error)
    assert main(["inspect", "a.engine"]) == kind.exit_code
    assert capsys.readouterr().err.startswith(f"bas-edge: {error}\n")


@pytest.mark.parametrize("error", [KeyboardInterrupt(), typer.Abort()])
def test_ctrl_c_is_one_line(
    error: BaseException, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    failing(monkeypatch, error)
    assert main(["inspect", "a.engine"]) == 130
    assert capsys.readouterr().err == "bas-edge: Interrupted.\n"


def test_ctrl_c_keeps_the_words_of_the_verb(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    failing(monkeypatch, KeyboardInterrupt("The run was saved."))
    assert main(["inspect", "a.engine"]) == 130
    assert capsys.readouterr().err == "bas-edge: The run was saved.\n"


def test_a_full_disk_is_not_a_bug(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    failing(monkeypatch, OSError(errno.ENOSPC, "No space left on device", "out/results.jsonl"))
    assert main(["inspect", "a.engine"]) == 1
    assert capsys.readouterr().err == "bas-edge: out/results.jsonl: No space left on device.\n"


@pytest.mark.parametrize("bug", [KeyError("frames"), OSError(errno.EBADF, "Bad file descriptor")])
def test_a_bug_keeps_its_traceback(bug: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, bug)
    with pytest.raises(type(bug)):
        main(["inspect", "a.engine"])


def test_the_module_is_the_same_command() -> None:
    command = [sys.executable, "-m", "bas_edge.cli", "inspect", "nothing.engine"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("bas-edge: No such engine: nothing.engine.")


def test_documented_exit_codes_are_those_of_the_errors() -> None:
    rows = re.findall(r"^\| (\d+) \| .* \| `(\w+)` \|$", (ROOT / "docs/cli.md").read_text(), re.M)
    documented = {name: int(code) for code, name in rows}
    kinds = errors.BasEdgeError.__subclasses__()  # other modules may have added their own
    direct = {kind.__name__: kind.exit_code for kind in kinds if kind.__module__ == errors.__name__}
    assert documented == {"BasEdgeError": errors.BasEdgeError.exit_code, **direct}


def test_every_verb_is_documented() -> None:
    text = (ROOT / "docs/cli.md").read_text()
    headings = " ".join(re.findall(r"^## (.+)$", text, re.M))
    assert all(verb in headings for verb in VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_every_documented_option_exists(verb: str) -> None:
    assert documented_options(verb) <= options(verb)


@pytest.mark.parametrize("page", ["datasets", "methods", "precision", "segmentation"])
def test_options_on_other_pages_exist(page: str) -> None:
    """Of some verb: a page tells of several."""
    text = (ROOT / f"docs/{page}.md").read_text()
    named = set(
        re.findall(r"(?<=[\s`(\[])--[a-z-]+", re.sub(r"python -m .*|torchrun .* -m", "", text))
    )
    assert len(named) > 2
    assert named <= set().union(*(options(verb) for verb in VERBS))


def documented_options(verb: str) -> set[str]:
    text = (ROOT / "docs/cli.md").read_text()
    section = re.search(rf"^## {verb}$(.*?)(?=^## |\Z)", text, re.M | re.S)
    return set(re.findall(r"`(?:-\w, )?(--[a-z-]+)", section[1] if section else ""))


def options(verb: str) -> set[str]:
    group = typer.main.get_command(app)
    params = group.get_command(None, verb).params
    return {name for param in params for name in (*param.opts, *param.secondary_opts)}


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (["benchmark", "a.engine", "--frames", "many"], "Invalid value for '--frames': .*integer"),
        (["run", "a.engine", "b.jpg", "--threads", "0"], "Invalid value for '--threads': .*1"),
        (
            ["evaluate", "a.engine", "b.csv", "--protocol", "voc"],
            "Invalid value for '--protocol': 'voc' is not one of 'bas', 'wsoleval'.",
        ),
    ],
)
def test_a_wrong_value_names_the_option(
    typed: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(typed) == 2
    assert re.search(message, capsys.readouterr().err)
