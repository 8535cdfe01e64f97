"""What every backend must do, run against each one that works on this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from bas_edge.backends import Backend, TensorSpec, open_backend
from bas_edge.errors import BackendError, InputError

BACKENDS = ["onnxruntime"]


@pytest.fixture(params=BACKENDS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def backend(name: str, tmp_path: Path, tiny_onnx: Callable[..., Path]) -> Iterator[Backend]:
    model = tiny_onnx(tmp_path / "m.onnx", maps="selected", classes=("a", "b", "c", "d"))
    opened = open_backend(name, model, threads=1)
    yield opened
    opened.close()


def frames(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 32, 32, 3), np.uint8)


def test_it_says_what_it_takes_and_gives(backend: Backend, name: str) -> None:
    assert backend.name == name
    assert backend.inputs == (TensorSpec("frames", (None, 32, 32, 3), np.dtype(np.uint8)),)
    assert {spec.name: spec for spec in backend.outputs} == {
        "logits": TensorSpec("logits", (None, 4), np.dtype(np.float32)),
        "classes": TensorSpec("classes", (None, 3), np.dtype(np.int32)),
        "maps": TensorSpec("maps", (None, 3, 8, 8), np.dtype(np.float32)),
    }


@pytest.mark.parametrize("count", [1, 2, 5])
def test_outputs_have_the_declared_names_types_and_shapes(backend: Backend, count: int) -> None:
    outputs = backend.run({"frames": frames(count)})
    assert set(outputs) == {spec.name for spec in backend.outputs}
    for spec in backend.outputs:
        assert outputs[spec.name].dtype == spec.dtype
        assert outputs[spec.name].shape == (count, *spec.shape[1:])


def test_it_computes_the_graph(backend: Backend, graphs: ModuleType) -> None:
    green = graphs.coloured_frame((32, 32), (8, 12, 20, 28), (0, 255, 0))
    outputs = backend.run({"frames": green[None]})
    share = 12 * 16 / (32 * 32)  # of the frame is green
    expected = 30 * share * graphs.colour_weights(4)[:, 1]
    np.testing.assert_allclose(outputs["logits"][0], expected, rtol=1e-5)  # float32 sums of 64
    assert outputs["classes"][0, 0] == 1
    inside = np.zeros((8, 8), bool)
    inside[3:7, 2:5] = True
    assert (outputs["maps"][0, 0] > 0.5).tolist() == inside.tolist()


def test_a_later_run_does_not_write_into_earlier_outputs(backend: Backend) -> None:
    first = backend.run({"frames": frames(2, seed=1)})
    kept = {key: value.copy() for key, value in first.items()}
    backend.run({"frames": frames(2, seed=2)})
    for key, value in first.items():
        np.testing.assert_array_equal(value, kept[key])


def test_read_only_and_batched_input_give_the_same(backend: Backend) -> None:
    batch = frames(3)
    batch.setflags(write=False)
    together = backend.run({"frames": batch})
    for i in range(3):
        alone = backend.run({"frames": batch[i : i + 1]})
        # A batch may be summed in another order: float32 rounding of 64 terms.
        np.testing.assert_allclose(alone["maps"][0], together["maps"][i], rtol=1e-5, atol=1e-6)


def test_a_clone_outlives_its_original(backend: Backend) -> None:
    expected = backend.run({"frames": frames(1)})
    twin = backend.clone()
    backend.close()
    np.testing.assert_array_equal(twin.run({"frames": frames(1)})["maps"], expected["maps"])
    twin.close()


def test_clones_run_side_by_side(backend: Backend) -> None:
    expected = [backend.run({"frames": frames(1, seed)})["maps"] for seed in range(4)]

    def work(seed: int) -> bool:
        twin = backend.clone()
        same = [
            np.array_equal(twin.run({"frames": frames(1, seed)})["maps"], expected[seed])
            for _ in range(25)
        ]
        twin.close()
        return all(same)

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(work, range(4))) == [True] * 4


def test_close_twice_then_run_or_clone(backend: Backend) -> None:
    backend.close()
    backend.close()
    with pytest.raises(BackendError, match="closed"):
        backend.run({"frames": frames(1)})
    with pytest.raises(BackendError, match="closed"):
        backend.clone()


def test_a_failing_run_carries_the_words_of_the_library(backend: Backend) -> None:
    with pytest.raises(BackendError, match=r"failed while running the graph: .*frames"):
        backend.run({"frames": np.zeros((1, 16, 32, 3), np.uint8)})


def test_a_file_that_is_no_graph(name: str, tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"text")
    with pytest.raises(BackendError, match=r"cannot load .*m\.onnx"):
        open_backend(name, tmp_path / "m.onnx")


@pytest.mark.parametrize("threads", [0, -1])
def test_threads_must_be_positive(name: str, tmp_path: Path, threads: int) -> None:
    with pytest.raises(InputError, match=f"threads is {threads}, but must be at least 1"):
        open_backend(name, tmp_path / "m.onnx", threads=threads)
