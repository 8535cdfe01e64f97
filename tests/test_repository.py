"""What the repository promises about itself: layout, versions, wheel, text."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

REPOSITORY = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
TEXT = {".py", ".cpp", ".hpp", ".cu", ".cuh", ".md", ".toml", ".txt", ".yaml", ".j2", ".cmake", ""}
CODE = {".py", ".cpp", ".hpp", ".cu", ".cuh"}


def own_files() -> list[Path]:
    """Every file that is, or would be, committed."""
    if not (REPOSITORY / ".git").exists() or shutil.which("git") is None:
        pytest.skip("not a git checkout: the list of committed files is unknown")
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True, text=True)
    paths = [REPOSITORY / name for name in listed.stdout.split("\0") if name]
    return [path for path in paths if path.is_file()]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index"]
    command += ["--no-build-isolation", "--wheel-dir", str(folder), str(REPOSITORY)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = folder.glob("*.whl")
    return zipfile.ZipFile(path)


def test_the_wheel_holds_the_two_packages_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    tops = {name.split("/")[0] for name in wheel.namelist()}
    version = PROJECT["version"]
    assert tops == {"bas_edge", "bas_edge_training", f"bas_edge-{version}.dist-info"}


def test_the_wheel_has_one_native_module_and_the_data_files(wheel: zipfile.ZipFile) -> None:
    names = wheel.namelist()
    native = [name for name in names if name.endswith((".so", ".pyd"))]
    assert len(native) == 1
    assert native[0].startswith("bas_edge/ops/_native.")
    assert "bas_edge/py.typed" in names
    assert "bas_edge_training/recipes/demo.toml" in names
    assert "bas_edge_training/recipes/published.toml" in names
    assert "bas_edge_training/report.html.j2" in names
    assert "bas_edge/quantization/report_page.html.j2" in names
    assert "bas_edge/quantization/report_page.css" in names
    page = ("index.html", "app.js", "link.js", "tiles.js", "controls.js", "style.css", "icon.svg")
    assert {f"bas_edge/serve/page/{name}" for name in page} <= set(names)
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


def test_the_wheel_installs_the_command(wheel: zipfile.ZipFile) -> None:
    (entry_points,) = (n for n in wheel.namelist() if n.endswith("entry_points.txt"))
    assert "bas-edge=bas_edge.cli:main" in wheel.read(entry_points).decode().replace(" ", "")


def test_the_runtime_does_not_require_what_only_training_needs() -> None:
    names = {re.split(r"[^\w.-]", line, maxsplit=1)[0] for line in PROJECT["dependencies"]}
    assert names == {"numpy", "pillow", "onnxruntime", "msgspec", "typer", "rich", "tomli"}


def test_constraints_pin_torch_first() -> None:
    lines = (REPOSITORY / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert pins[:1] == ["torch==2.13.0"]


def test_constraints_name_no_index_and_no_path() -> None:
    for line in (REPOSITORY / "constraints.txt").read_text().splitlines():
        assert not line.startswith("-"), line
        assert "/" not in line or line.startswith("#"), line


def test_every_direct_dependency_is_constrained() -> None:
    def name(line: str) -> str:
        return re.split(r"[^\w.-]", line, maxsplit=1)[0].lower().replace("_", "-")

    lines = (REPOSITORY / "constraints.txt").read_text().splitlines()
    pinned = {name(line) for line in lines if line and not line.startswith("#")}
    wanted = set(PROJECT["dependencies"])
    for extra in ("build", "train", "video", "report", "mqtt", "webhook", "serve"):
        wanted |= set(PROJECT["optional-dependencies"][extra])
    assert {name(line) for line in wanted} - {"bas-edge"} <= pinned


def test_the_changelog_begins_with_the_current_version() -> None:
    text = (REPOSITORY / "CHANGELOG.md").read_text()
    found = re.search(r"^## \[(\d+\.\d+\.\d+)\] - (unreleased|\d{4}-\d\d-\d\d)$", text, re.M)
    assert found is not None
    assert found[1] == PROJECT["version"]


def test_no_source_file_is_over_400_lines() -> None:
    lengths = {
        path: len(path.read_text().splitlines()) for path in own_files() if path.suffix in CODE
    }
    assert {path.name: n for path, n in lengths.items() if n > 400} == {}


def test_no_module_has_a_name_that_says_nothing() -> None:
    nothing = {"utils", "util", "helpers", "helper", "common", "core", "misc"}
    assert [path for path in own_files() if path.suffix in CODE and path.stem in nothing] == []


def test_no_file_names_a_developers_machine_or_a_package_index() -> None:
    """Paths that exist on one machine only, and hosts that a user must be free to replace."""
    private = re.compile(
        rf"{re.escape(str(REPOSITORY))}\b|/(home|Users|root)/\w|https?://\S*(pypi|/simple\b|/whl\b)"
    )
    found = [
        f"{path.relative_to(REPOSITORY)}:{number}: {line.strip()}"
        for path in own_files()
        if path.suffix in TEXT and path != Path(__file__)
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if private.search(line)
    ]
    assert found == []


def test_nothing_large_or_trained_is_committed() -> None:
    large = {path.name: path.stat().st_size for path in own_files()}
    assert {name: size for name, size in large.items() if size > 600_000} == {}
    built = {".onnx", ".safetensors", ".pth", ".so", ".plan", ".whl", ".mp4"}
    assert [path for path in own_files() if path.suffix in built] == []


def test_markdown_links_lead_somewhere() -> None:
    missing = [
        f"{page.relative_to(REPOSITORY)}: {target}"
        for page in own_files()
        if page.suffix == ".md"
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())
        if not (page.parent / target).exists()
    ]
    assert missing == []


def test_the_checks_are_one_command_and_the_hooks_run_the_same_tools() -> None:
    assert "make test" in (REPOSITORY / ".ci" / "run").read_text()
    hooks = (REPOSITORY / ".pre-commit-config.yaml").read_text()
    lint = re.search(r"^lint:.*\n((?:\t.*\n)+)", (REPOSITORY / "Makefile").read_text(), re.M)
    assert lint is not None
    for tool in ("ruff check", "ruff format", "mypy", "codespell", "clang-format"):
        assert f"$(BIN)/{tool}" in lint[1]
        assert f".venv/bin/{tool}" in hooks
