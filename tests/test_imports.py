"""What may import what, what importing costs, and which names are public."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import bas_edge
from bas_edge import errors

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

REPOSITORY = Path(__file__).resolve().parent.parent
PACKAGE = REPOSITORY / "bas_edge"
SOURCES = sorted(PACKAGE.rglob("*.py")) + sorted((REPOSITORY / "training").rglob("*.py"))

PUBLIC = [
    "Localization",
    "Localizer",
    "Segmentation",
    "Segmenter",
    "Timing",
    "__version__",
    "build_engine",
    "errors",
    "evaluate",
    "open_engine",
]

# What each part may import of bas_edge. A part that is not listed is in the middle layer: it may
# import every part but the command line.
LOWEST = {"errors", "results", "_require", "drawing"}
ALLOWED = {
    "errors": {"errors"},
    "_require": LOWEST,
    "results": LOWEST,
    "drawing": {"drawing"},
    "ops": LOWEST | {"ops"},
    "backends": LOWEST | {"backends"},
}
VIDEO_PARTS = ("sources", "sinks", "steady")  # know the frames, not the pipeline and not each other
DEPENDENCIES = {"numpy", "PIL", "msgspec", "typer", "rich", "tomli", "bas_edge"}
ONE_FILE_EACH = {
    "onnxruntime": "backends/onnxruntime_backend.py",
    "cuda": "backends/_cuda_python.py",  # cuda-python
    "pycuda": "backends/_pycuda.py",
    "tensorrt": "backends/tensorrt_backend.py",
    "tensorrt_rtx": "backends/tensorrt_rtx_backend.py",
    "onnx": "engine/onnx_graph.py",
    "jinja2": "quantization/report_page.py",
    "starlette": "serve/app.py",
    "uvicorn": "serve/server.py",
    "websockets": "serve/server.py",
    "prometheus_client": "serve/metrics.py",
    "supervision": "results.py",
    "pycocotools": "segmentation/coco.py",
    "paho": "video/sinks/mqtt.py",
    "urllib3": "video/sinks/webhook.py",
    "scipy": "datasets/matlab.py",
}
VAGUE_NAMES = {"utils", "helpers", "common", "core", "misc"}


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imports(node: ast.AST) -> Iterator[str]:
    """Every dotted name imported below `node`, in functions and by require() too."""
    for child in ast.walk(node):
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, "relative import"
            module = child.module or ""
            yield module
            yield from (f"{module}.{alias.name}" for alias in child.names)
        elif isinstance(child, ast.Call) and ast.unparse(child.func) == "require":
            names = (
                node.value for node in ast.walk(child.args[0]) if isinstance(node, ast.Constant)
            )
            yield from (name for name in names if isinstance(name, str))


def imports_when_loaded(path: Path) -> Iterator[str]:
    """The modules that importing `path` imports: not in functions, not for type checkers."""
    pending: list[ast.AST] = [tree(path)]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            pending += node.orelse
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
        pending += ast.iter_child_nodes(node)


def part(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def label(path: Path) -> str:
    return path.relative_to(REPOSITORY).as_posix()


def package_files() -> list[Path]:
    return [path for path in SOURCES if PACKAGE in path.parents]


def test_the_walk_sees_the_package() -> None:
    assert {"errors", "localizer", "engine", "backends"} <= {part(path) for path in package_files()}


@pytest.mark.parametrize("path", package_files(), ids=label)
def test_imports_point_one_way(path: Path) -> None:
    here = part(path)
    seen = {name.split(".")[1] for name in imports(tree(path)) if name.startswith("bas_edge.")}
    parts = {
        name for name in seen if (PACKAGE / name).is_dir() or (PACKAGE / f"{name}.py").exists()
    }
    if here in ALLOWED:
        assert parts <= ALLOWED[here]
    elif here not in {"cli", "__main__"}:
        assert "cli" not in parts


@pytest.mark.parametrize("part_of_video", VIDEO_PARTS)
def test_parts_of_video_know_only_the_frames(part_of_video: str) -> None:
    files = sorted((PACKAGE / "video" / part_of_video).glob("*.py"))
    names = {name for path in files for name in imports(tree(path))}
    video = {name for name in names if name.startswith("bas_edge.video.")}
    parts = {name.split(".")[2] for name in video}
    assert "bas_edge.video" not in names
    assert {"frames", part_of_video} == parts


@pytest.mark.parametrize("path", package_files(), ids=label)
def test_only_dependencies_are_imported_when_a_module_loads(path: Path) -> None:
    roots = {name.partition(".")[0] for name in imports_when_loaded(path)}
    foreign = roots - DEPENDENCIES - set(sys.stdlib_module_names)
    assert not foreign


@pytest.mark.parametrize("path", package_files(), ids=label)
def test_engines_are_imported_in_one_file_and_torch_in_none(path: Path) -> None:
    roots = {name.partition(".")[0] for name in imports(tree(path))}
    assert not roots & {"torch", "torchvision"}
    for engine, home in ONE_FILE_EACH.items():
        assert (engine in roots) == (path == PACKAGE / home)
    if part(path) != "cli":
        assert "bas_edge_training" not in roots


@pytest.mark.parametrize("path", SOURCES, ids=label)
def test_modules_are_laid_out_alike(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    module = tree(path)
    assert len(text.splitlines()) <= 400
    assert not VAGUE_NAMES & set(path.relative_to(REPOSITORY).with_suffix("").parts)
    assert ast.get_docstring(module), "no module docstring"
    if any(isinstance(node, ast.FunctionDef | ast.ClassDef) for node in module.body):
        assert "from __future__ import annotations" in text
        assert "\n__all__ = [" in text


def test_public_names_are_these() -> None:
    assert sorted(bas_edge.__all__) == sorted(PUBLIC)
    assert set(PUBLIC) <= set(dir(bas_edge))


@pytest.mark.parametrize("name", PUBLIC)
def test_public_name_resolves(name: str) -> None:
    assert getattr(bas_edge, name) is not None


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Localiser'"):
        _ = bas_edge.Localiser


def test_every_error_is_exported_and_has_the_documented_exit_code() -> None:
    codes = {name: getattr(errors, name).exit_code for name in errors.__all__}
    assert codes == {
        "BasEdgeError": 1,
        "InputError": 2,
        "MissingExtraError": 3,
        "EngineError": 4,
        "EngineCorruptError": 4,
        "EngineSchemaError": 4,
        "EngineMismatchError": 4,
        "BackendError": 5,
        "KernelError": 6,
        "PartialFailureError": 7,
        "AccuracyError": 8,
        "StreamAuthenticationError": 9,
        "StreamCodecError": 9,
        "StreamConnectionError": 9,
        "StreamError": 9,
        "StreamNotFoundError": 9,
        "StreamTimeoutError": 9,
    }


def test_version_is_that_of_the_project() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert bas_edge.__version__ == project["version"]


def modules_after(statement: str) -> set[str]:
    """The top-level modules loaded in a new interpreter by `statement`, beyond its own."""
    code = (
        "import sys, json; before = set(sys.modules)\n"
        f"{statement}\n"
        "print(json.dumps(sorted({m.partition('.')[0] for m in set(sys.modules) - before})))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPOSITORY
    )
    return set(json.loads(done.stdout))


def test_importing_bas_edge_loads_nothing_but_itself() -> None:
    loaded = modules_after("import bas_edge; bas_edge.errors.InputError")
    assert loaded - set(sys.stdlib_module_names) == {"bas_edge"}


@pytest.mark.parametrize(
    "statement",
    [
        "from bas_edge import Localizer",
        "from bas_edge import build_engine, open_engine, Localization",
        "import bas_edge.backends; bas_edge.backends.backend_names()",
    ],
)
def test_inference_and_training_libraries_load_only_when_used(statement: str) -> None:
    loaded = modules_after(statement)
    assert "numpy" in loaded
    heavy = {"onnxruntime", "onnx", "torch", "av", "matplotlib", "jinja2", "typer", "rich"}
    assert not loaded & (heavy | {"tensorrt", "tensorrt_rtx"})
