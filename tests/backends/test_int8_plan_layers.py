"""Whether TensorRT takes every pair into its convolution, as the layers of a real plan say.

The inspector needs a GPU; how its answer is judged does not.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from small_nets import SIDE, mobile, noise, quantize

from bas_edge.backends._tensorrt_build import BuildRequest, _config
from bas_edge.backends._tensorrt_common import load_plan
from bas_edge.backends._tensorrt_log import LogLines, make_logger
from bas_edge.backends._tensorrt_parse import make_network, parse_graph

CONVOLUTIONS = {"stem", "reduce", "depthwise", "expand", "grouped", "to_classes"}
ENDS = {"pixels", "to_maps", "pooled"}  # float on one side: a pair there is a layer of its own


def judge(information: str) -> tuple[set[str], list[str]]:
    """(convolutions that do not read int8, pairs that are layers of their own between two)."""
    floats, alone = set(), []
    for layer in json.loads(information)["Layers"]:
        parts = [part.strip() for part in layer["Name"].split("+")]
        found = CONVOLUTIONS & set(parts)
        if found:
            kinds = {each["Format/Datatype"].lower() for each in layer["Inputs"]}
            floats |= set() if any("int8" in kind for kind in kinds) else found
        elif any(part.endswith(("/q", "/dq")) for part in parts):
            between = not any(end in part for part in parts for end in ENDS)
            alone += [layer["Name"]] if between else []
    return floats, alone


def described(name: str, kind: str) -> dict[str, Any]:
    return {"Name": name, "LayerType": "Any", "Inputs": [{"Format/Datatype": kind}]}


def test_how_layers_are_judged() -> None:
    fused = [
        described("pixels/codes/q", "Row major linear FP32"),
        described("stem.w/codes + stem + stem_clip", "Thirty-two wide channel vectorized Int8"),
        described("grouped_relu/restored_2/dq + to_maps", "FP32"),
    ]
    assert judge(json.dumps({"Layers": fused})) == (set(), [])
    spoilt = [
        *fused,
        described("reduce/codes/q", "FP32"),
        described("depthwise + depthwise_relu", "Row major linear FP32"),
    ]
    assert judge(json.dumps({"Layers": spoilt})) == ({"depthwise"}, ["reduce/codes/q"])


def test_every_tensorrt_has_an_inspector(fakes: ModuleType) -> None:
    for api in fakes.APIS.values():
        assert "create_engine_inspector" in api["classes"]["ICudaEngine"]
        assert "profiling_verbosity" in api["classes"]["IBuilderConfig"]
        assert {"LayerInformationFormat", "ProfilingVerbosity"} <= set(api["module"])


@pytest.mark.gpu
def test_no_pair_is_left_around_a_convolution(tmp_path: Path) -> None:
    trt = pytest.importorskip("tensorrt", reason="tensorrt is not installed")
    from bas_edge.backends._cuda import open_device

    path = tmp_path / "m.onnx"
    path.write_bytes(quantize(mobile(), "tensorrt", noise(4), correct=True))
    request = BuildRequest(path, "frames", (SIDE, SIDE, 3), precision="int8")
    device = open_device()
    try:
        lines = LogLines()
        logger = make_logger(trt, lines)
        with device.current():
            builder = trt.Builder(logger)
            network = make_network(trt, builder)
            parser = parse_graph(trt, network, logger, path, input_name="frames", lines=lines)
            config = _config(trt, builder, network, request)
            config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
            plan = builder.build_serialized_network(network, config)
        assert plan is not None, lines.attached()
        loaded = load_plan(trt, bytes(plan), source="m.plan", rebuild="", device=device)
        with device.current():
            inspector = loaded.engine.create_engine_inspector()
            said = inspector.get_engine_information(trt.LayerInformationFormat.JSON)
            assert judge(said) == (set(), []), said
            del inspector, loaded, parser, network, config, builder
    finally:
        device.close()
