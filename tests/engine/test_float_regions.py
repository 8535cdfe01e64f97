"""What stays in float32 in graphs of every shape of head."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from small_nets import Net, mobile

from bas_edge.engine.float_regions import float_regions
from bas_edge.engine.onnx_graph import OnnxGraph

FRONT = {"floats", "planes", "centred", "pixels"}


def regions(net: Net | bytes, **outputs: int) -> set[str]:
    return float_regions(OnnxGraph.read(net if isinstance(net, bytes) else net.model(**outputs)))


def backbone(net: Net) -> str:
    x = net.conv(net.pixels(), (4, 3, 3, 3), name="stem")
    return net.add("Relu", x, name="stem_relu")


def test_both_heads() -> None:
    ends = {"pooled", "logits", "to_maps", "maps"}
    assert regions(mobile()) == FRONT | ends  # and not "to_classes", before the pooling


def test_a_classifier_with_weights_behind_the_pooling() -> None:
    net = Net()
    x = net.add("GlobalAveragePool", backbone(net), name="pooled")
    x = net.add("Flatten", x, name="flat")
    net.add("Gemm", x, net.constant("w", np.ones((4, 2), np.float32)), name="logits")
    assert regions(net, logits=2) == FRONT | {"pooled", "flat", "logits"}


def test_a_classifier_without_pooling_keeps_its_last_weights() -> None:
    net = Net()
    x = net.conv(backbone(net), (4, 4, 1, 1), name="before")
    x = net.conv(x, (2, 4, 10, 10), name="last")
    net.add("Flatten", x, name="logits")
    assert regions(net, logits=2) == FRONT | {"last", "logits"}


def test_all_that_depends_on_logits_alone() -> None:
    """The choice of classes, and also weights gathered by it, but not what they multiply."""
    net = Net()
    x = backbone(net)
    net.heads(x, 4)
    net.add("Softmax", "logits", name="scores")
    net.add("Relu", "scores", name="positive")
    assert {"scores", "positive"} <= regions(net, logits=2, maps=4, positive=2)
    assert "stem_relu" not in regions(net, logits=2, maps=4, positive=2)


def test_a_mean_map_is_kept_from_the_last_weights_before_the_sigmoid() -> None:
    net = Net()
    x = net.conv(backbone(net), (4, 4, 1, 1), name="features")
    x = net.conv(x, (3, 4, 1, 1), name="response")
    x = net.add("Sigmoid", x, name="sigmoid")
    net.conv(x, (1, 3, 1, 1), name="foreground")
    assert regions(net, foreground=4) == FRONT | {"response", "sigmoid", "foreground"}


def test_maps_without_a_sigmoid_keep_their_last_weights() -> None:
    net = Net()
    x = net.conv(backbone(net), (4, 4, 1, 1), name="features")
    net.conv(x, (3, 4, 1, 1), name="maps")
    assert regions(net, maps=4) == FRONT | {"maps"}


def test_other_names_of_the_map_output() -> None:
    net = Net()
    x = net.conv(backbone(net), (3, 4, 1, 1), name="response")
    net.add("Sigmoid", x, name="heat")
    graph = OnnxGraph.read(net.model(heat=4))
    assert float_regions(graph) == FRONT
    assert float_regions(graph, ("heat",)) == FRONT | {"response", "heat"}


@pytest.mark.parametrize("maps", ["all", "selected", "mean"])
def test_the_tiny_graphs_keep_all_but_the_classes_layer(
    tmp_path: Path, graphs: ModuleType, maps: str
) -> None:
    path = graphs.tiny_onnx(tmp_path / "m.onnx", maps=maps)
    graph = OnnxGraph.read(path)
    free = {node.name for node in graph.nodes} - float_regions(graph)
    assert [graph.node(name).op_type for name in free] == ["Conv"]


def test_class_activation_maps_keep_the_convolution_that_computes_them() -> None:
    net = Net()
    x = backbone(net)
    x = net.add("Relu", net.conv(x, (4, 4, 1, 1), name="tail"), name="tail_relu")
    pooled = net.add("GlobalAveragePool", x, name="pooled")
    net.add("Flatten", net.conv(pooled, (2, 4, 1, 1), name="classifier"), name="logits")
    net.add("Relu", net.conv(x, (2, 4, 1, 1), name="cams"), name="maps")
    ends = {"pooled", "classifier", "logits", "cams", "maps"}
    assert regions(net, logits=2, maps=4) == FRONT | ends


def test_products_of_features_stay_in_float_and_the_features_do_not() -> None:
    """Eigen-CAM: no layer with weights is behind its map, and none may be kept for it."""
    net = Net()
    x = net.add("Relu", net.conv(backbone(net), (4, 4, 1, 1), name="tail"), name="tail_relu")
    net.heads(x, 4)
    del net.nodes[-2:]  # its maps
    flat = net.constant("flat", np.array([0, 4, -1], np.int64))
    channels = net.add("Reshape", x, flat, name="channels")
    cells = net.add("Transpose", channels, name="cells", perm=[0, 2, 1])
    start = net.add("ReduceMean", channels, name="start", axes=[2])
    once = net.add("MatMul", cells, start, name="once")
    again = net.add("MatMul", channels, once, name="again")
    cut = net.constant("map", np.array([-1, 1, 10, 10], np.int64))
    net.add("Reshape", net.add("MatMul", cells, again, name="twice"), cut, name="foreground")
    chain = {"channels", "cells", "start", "once", "again", "twice", "foreground"}
    ends = {"pooled", "logits"}
    assert regions(net, logits=2, foreground=4) == FRONT | ends | chain
