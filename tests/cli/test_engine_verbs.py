"""build-engine, inspect and benchmark on a tiny engine."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bas_edge import latency
from bas_edge.errors import InputError

Invoke = Callable[..., tuple[int, list[Any], str]]
Say = Callable[..., tuple[int, str, str]]

pytestmark = pytest.mark.usefixtures("workplace")


def test_build_engine_ends_with_commands_to_paste(say: Say) -> None:
    code, out, err = say("build-engine", "tiny.onnx", "-o", "my birds.engine")
    assert (code, err) == (0, "")
    assert out.startswith("Wrote my birds.engine (fp32, ")
    pasted = [shlex.split(line) for line in out.partition("Next:\n")[2].splitlines()]
    assert [words[1] for words in pasted] == ["run", "run", "evaluate", "benchmark", "inspect"]
    assert all(words[2] == "my birds.engine" for words in pasted)


def test_the_pasted_commands_work(say: Say) -> None:
    _, out, _ = say("build-engine", "tiny.onnx")
    (line,) = [line for line in out.splitlines() if "inspect" in line]
    assert say(*shlex.split(line)[1:])[0] == 0


def test_build_engine_json(invoke: Invoke) -> None:
    code, (built,), _ = invoke("build-engine", "tiny.onnx", "-o", "birds.engine")
    assert code == 0
    assert built["engine"] == "birds.engine"
    assert built["manifest"]["classes"] == ["a", "b", "c"]
    assert len(built["next"]) == 5


def test_an_engine_is_replaced_only_when_asked(say: Say) -> None:
    assert say("build-engine", "tiny.onnx")[0] == 0
    code, _, err = say("build-engine", "tiny.onnx")
    assert code == 2
    assert err.splitlines()[0].endswith("tiny.engine already exists.")
    assert say("build-engine", "tiny.onnx", "--overwrite")[0] == 0


def test_build_engine_needs_our_metadata(tiny_onnx: Callable[..., Path], say: Say) -> None:
    tiny_onnx("foreign.onnx", metadata=False)
    code, _, err = say("build-engine", "foreign.onnx")
    assert code == 4
    assert "foreign.onnx" in err
    assert not Path("foreign.engine").exists()


def test_inspect(say: Say, invoke: Invoke) -> None:
    say("build-engine", "tiny.onnx")
    code, out, _ = say("inspect", "tiny.engine")
    assert code == 0
    assert out.startswith("tiny.engine: hashes are in order")
    assert "3: a, b, c" in out
    _, (described,), _ = invoke("inspect", "tiny.engine")
    assert described["manifest"]["input"] == {"height": 32, "width": 32, "resize": "stretch"}
    assert say("inspect", "tiny.onnx")[1].startswith("tiny.onnx: an exported graph")


def test_inspect_finds_damage(say: Say, invoke: Invoke) -> None:
    say("build-engine", "tiny.onnx")
    model = Path("tiny.engine/model.onnx")
    content = bytearray(model.read_bytes())
    content[len(content) // 2] ^= 1
    model.write_bytes(content)
    code, (error,), err = invoke("inspect", "tiny.engine")
    assert code == error["exit_code"] == 4
    assert "model.onnx" in err
    model.unlink()
    assert say("inspect", "tiny.engine")[0] == 4


def test_an_unknown_schema(say: Say) -> None:
    say("build-engine", "tiny.onnx")
    manifest = Path("tiny.engine/manifest.json")
    changed = json.loads(manifest.read_text()) | {"schema_version": 99}
    manifest.write_text(json.dumps(changed))
    code, _, err = say("inspect", "tiny.engine")
    assert code == 4
    assert "99" in err


def test_benchmark(say: Say, invoke: Invoke) -> None:
    options = ("--frames", "6", "--warmup", "1", "--size", "96x64", "--threads", "1")
    code, out, _ = say("benchmark", "tiny.onnx", *options)
    assert code == 0
    assert out.startswith("tiny.onnx: onnxruntime, 1 threads, synthetic 96×64\n6 frames after 1 of")
    assert [stage in out for stage in ("pre", "infer", "post", "total", "p99")] == [True] * 5
    _, (result,), _ = invoke("benchmark", "tiny.onnx", *options, "-o", "bench.json")
    assert json.loads(Path("bench.json").read_text()) == result
    assert result["frames"] == 6
    for stage in result["stages"].values():
        assert 0 < stage["p50_ms"] <= stage["p90_ms"] <= stage["p99_ms"]
    assert result["conditions"]["versions"]["onnxruntime"]


def test_benchmark_for_some_seconds_on_an_image() -> None:
    done: list[tuple[int, int | None]] = []
    result = latency.benchmark(
        "tiny.onnx",
        seconds=0.01,
        warmup=0,
        image="photos/a.jpg",
        threads=1,
        on_frame=lambda *at: done.append(at),
    )
    assert result.frame == "photos/a.jpg 96×64"
    assert done == [(at + 1, None) for at in range(result.frames)]
    assert result.frames_per_s == pytest.approx(result.frames / result.seconds)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"frames": 0}, "at least one frame"),
        ({"size": (0, 5)}, "at least one frame"),
        ({"seconds": 0.0}, "cannot run for 0 seconds"),
    ],
)
def test_benchmark_refuses(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        latency.benchmark("tiny.onnx", **options)


def test_benchmark_size_must_be_two_numbers(say: Say) -> None:
    code, _, err = say("benchmark", "tiny.onnx", "--size", "720p")
    assert (code, err.splitlines()[0]) == (2, "bas-edge: --size '720p' is not WIDTHxHEIGHT.")


def test_the_synthetic_frame_is_the_same_everywhere() -> None:
    frame = latency.synthetic_frame((48, 64))
    assert frame.shape == (48, 64, 3)
    assert frame.dtype == np.uint8
    np.testing.assert_array_equal(frame, latency.synthetic_frame((48, 64)))
    assert frame[21, 38].astype(int).sum() > frame[2, 2].astype(int).sum() + 60  # the disc
