"""Published checkpoints: the same function to 1e-5, and every way a file can be another."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from published_networks import State, forward

from bas_edge.cli.app import main
from bas_edge.errors import InputError
from bas_edge_training import export, import_checkpoint, load_checkpoint
from bas_edge_training.import_checkpoint import PUBLISHED_NAMES, published_shapes

CLASSES = 4
FRAMES = torch.randint(0, 256, (2, 3, 96, 96), generator=torch.Generator().manual_seed(0))


def published_state(network: str, width: float = 0.25) -> State:
    """Random tensors of every published name, alive enough that a wrong layer shows."""
    task = "segmentation" if network == "segmentation" else "localization"
    architecture = "resnet50" if network == "segmentation" else PUBLISHED_NAMES[network]
    generator = torch.Generator().manual_seed(3)
    state = {}
    for name, shape in published_shapes(architecture, task, CLASSES, width).items():
        if len(shape) == 4:
            fan_in = shape[1] * shape[2] * shape[3]
            value = torch.randn(shape, generator=generator) * (2 / fan_in) ** 0.5
        elif name.endswith("running_var") or ("bn" in name and name.endswith("weight")):
            value = 0.5 + torch.rand(shape, generator=generator)
        else:
            value = 0.1 * torch.randn(shape, generator=generator)
        if name.endswith("bn3.weight"):
            value *= 0.2  # as in trained networks; else each block doubles what rounding left
        state[name] = value
        if name.endswith("running_var"):
            state[name.replace("running_var", "num_batches_tracked")] = torch.tensor(7)
    return state


def extension_file(path: Path, state: State, prefix: str = "") -> Path:
    named = {prefix + key: value for key, value in state.items()}
    wrapped = {"model": named, "best_thr": np.float64(0.1), "epoch": 99}
    torch.save(wrapped, path, _use_new_zipfile_serialization=False)
    return path


def imported(path: Path, output: Path, network: str, **options: Any) -> torch.nn.Module:
    task = "segmentation" if network == "segmentation" else "localization"
    arch = "resnet" if network == "segmentation" else network
    import_checkpoint(path, output, architecture=arch, task=task, **options)
    return load_checkpoint(output).model


@pytest.mark.parametrize("network", [*PUBLISHED_NAMES, "segmentation"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_extension_checkpoints_compute_what_they_did(
    network: str, prefix: str, tmp_path: Path
) -> None:
    state = published_state(network)
    path = extension_file(tmp_path / "best_gt.pth.tar", state, prefix)
    model = imported(path, tmp_path / "run", network)
    with torch.no_grad():
        got, wanted = model(FRAMES), forward(state, network, FRAMES, relu_last=False)
    for one, other in zip(got, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("network", "copies", "head"),
    [
        ("vgg", ["conv_copy_5_1.weight", "classifier_cls_copy.0.weight"], "classifier_cls"),
        ("resnet", ["layer4_copy.0.conv1.weight"], "classifier_cls"),
        ("mobilenet", ["erase_branch.0.0.weight"], "classifier_cls"),
        ("inception", [], "classifier"),
    ],
)
def test_checkpoints_of_the_first_release_keep_their_relu(
    network: str, copies: list[str], head: str, tmp_path: Path
) -> None:
    state = published_state(network)
    state = {key.replace("classifier_cls.", f"{head}."): value for key, value in state.items()}
    torch.save(state | {name: torch.zeros(3) for name in copies}, tmp_path / "vgg99.pth.tar")
    model = imported(tmp_path / "vgg99.pth.tar", tmp_path / "run", network)
    assert model.config.rectified
    with torch.no_grad():
        got = model(FRAMES)
        wanted = forward(state, network, FRAMES, relu_last=True, head=head)
        other = forward(state, network, FRAMES, relu_last=False, head=head)
    for one, expected in zip(got, wanted, strict=True):
        torch.testing.assert_close(one, expected, rtol=1e-5, atol=1e-5)
    assert (got[0] - other[0]).abs().max() > 1e-3


def test_a_bare_state_dict_has_to_be_given_its_release(tmp_path: Path) -> None:
    torch.save(published_state("vgg"), tmp_path / "vgg.pth")
    with pytest.raises(InputError, match="does not say of which release it is"):
        imported(tmp_path / "vgg.pth", tmp_path / "run", "vgg")
    assert not (tmp_path / "run").exists()
    assert not imported(
        tmp_path / "vgg.pth", tmp_path / "run", "vgg", release="bas-extension"
    ).config.rectified


def test_what_is_written_says_where_it_came_from(tmp_path: Path) -> None:
    path = extension_file(tmp_path / "best_gt.pth.tar", published_state("mobilenet"))
    names = ["ant", "bee", "cat", "dog"]
    report = import_checkpoint(
        path,
        tmp_path / "run",
        architecture="mobilenet_v1",
        classes=names,
        recipe="cub_mobilenet_v1_published",
    )
    assert (report.release, report.classes, report.epoch) == ("bas-extension", CLASSES, 99)
    info = load_checkpoint(tmp_path / "run").info
    assert info.classes == tuple(names)
    assert info.pretrained == "best_gt.pth.tar"
    assert info.threshold is not None
    assert (info.threshold.rule, info.threshold.value) == ("fixed", 0.1)
    assert info.threshold.chosen_by == "recipe cub_mobilenet_v1_published"
    assert info.recipe_content["localization"]["top_k"] == 80
    with pytest.raises(InputError, match="exists already"):
        import_checkpoint(path, tmp_path / "run", architecture="mobilenet_v1")


Change = Callable[[State], State]


def without(name: str) -> Change:
    return lambda state: {key: value for key, value in state.items() if key != name}


def instead(name: str, *shape: int) -> Change:
    return lambda state: state | {name: torch.zeros(shape)}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (without("layer2.1.bn2.bias"), r"1 missing \(layer2\.1\.bn2\.bias\); none left over"),
        (lambda state: state | {"fc.weight": torch.zeros(2)}, r"1 left over \(fc\.weight\)"),
        (
            instead("layer2.0.conv2.weight", 3, 3, 1, 1),
            r"layer2\.0\.conv2\.weight has shape \[3, 3, 1, 1\], but a resnet50",
        ),
        (without("classifier_loc.0.weight"), "no classifier_loc.0.weight, the generator"),
        (
            instead("classifier_loc.0.weight", 0, 256, 3, 3),
            r"shape \[0, 256, 3, 3\], but a generator",
        ),
        (instead("classifier_loc.0.weight"), r"shape \[\], but a generator"),
        (instead("conv1.weight"), r"conv1\.weight has shape \[\], but a resnet50"),
    ],
)
def test_a_tensor_that_does_not_fit_is_named(change: Change, words: str, tmp_path: Path) -> None:
    path = extension_file(tmp_path / "x.pth.tar", change(published_state("resnet")))
    with pytest.raises(InputError, match=words):
        imported(path, tmp_path / "run", "resnet")
    assert not (tmp_path / "run").exists()


def test_a_checkpoint_of_another_network_is_refused(tmp_path: Path) -> None:
    path = extension_file(tmp_path / "x.pth.tar", published_state("vgg"))
    with pytest.raises(InputError, match="is no resnet50 of BAS for localization") as caught:
        imported(path, tmp_path / "run", "resnet")
    assert str(caught.value.hint).endswith(": --arch vgg16")
    with pytest.raises(InputError, match="Of BAS for segmentation, no vgg16 was published"):
        import_checkpoint(path, tmp_path / "run", architecture="vgg", task="segmentation")
    with pytest.raises(InputError, match="Of BAS for localization, no mobilenet_v2"):
        import_checkpoint(path, tmp_path / "run", architecture="mobilenet_v2")


def test_a_file_that_does_not_fit_is_told_before_its_release_is_asked_for(tmp_path: Path) -> None:
    state = published_state("segmentation")
    torch.save(state, tmp_path / "x.pth")
    with pytest.raises(InputError, match="is no resnet50 of BAS for localization") as caught:
        imported(tmp_path / "x.pth", tmp_path / "run", "resnet")
    assert str(caught.value.hint).endswith(": --arch resnet50 --task segmentation")
    torch.save({k: v for k, v in state.items() if "classifier" not in k}, tmp_path / "x.pth")
    with pytest.raises(InputError, match=r"so it is no checkpoint of BAS\.") as caught:
        imported(tmp_path / "x.pth", tmp_path / "run", "resnet")
    assert "--pretrained" in str(caught.value.hint)


def test_an_epoch_that_is_no_number_is_unknown(tmp_path: Path) -> None:
    wrapped = {"model": published_state("vgg"), "best_thr": np.float32(0.1), "epoch": "last"}
    torch.save(wrapped, tmp_path / "x.pth.tar")
    report = import_checkpoint(tmp_path / "x.pth.tar", tmp_path / "run", architecture="vgg")
    assert (report.release, report.epoch) == ("bas-extension", 0)


class Payload:
    """An object whose loading would run code."""

    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("loaded",)


def test_objects_and_cut_files_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.pth.tar").write_bytes(pickle.dumps({"model": Payload()}, protocol=2))
    with pytest.raises(InputError, match=r"could run code: print\.$"):
        imported(tmp_path / "bad.pth.tar", tmp_path / "run", "vgg")
    assert capsys.readouterr().out == ""
    torch.save(published_state("vgg"), tmp_path / "cut.pth.tar")
    content = (tmp_path / "cut.pth.tar").read_bytes()
    for share in (0.1, 0.5, 0.99):
        (tmp_path / "cut.pth.tar").write_bytes(content[: int(share * len(content))])
        with pytest.raises(InputError, match=r"cannot be read as weights: [^.]*\.$"):
            imported(tmp_path / "cut.pth.tar", tmp_path / "run", "vgg")
    for text in ("<html>404</html>", "hi\n", "a label\n", "K"):  # torch raises KeyError, IndexError
        (tmp_path / "page.pth.tar").write_text(text)
        with pytest.raises(InputError, match=r"weights: it is nothing that torch.save wrote\.$"):
            imported(tmp_path / "page.pth.tar", tmp_path / "run", "vgg")
    with pytest.raises(InputError, match="is a folder, not a file of weights"):
        imported(tmp_path, tmp_path / "run", "vgg")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"classes": ["a", "b"]}, "2 class names for the 4 classes"),
        ({"recipe": "cub_resnet50_published"}, "is for a resnet50, not a vgg16"),
        ({"architecture": "vgg19"}, "There is no backbone 'vgg19'"),
        (
            {"architecture": "resnet", "task": "segmentation", "release": "bas"},
            "came with the release bas-extension, not with bas",
        ),
    ],
)
def test_options_that_do_not_fit(options: dict[str, Any], words: str, tmp_path: Path) -> None:
    path = extension_file(tmp_path / "x.pth.tar", published_state("vgg"))
    with pytest.raises(InputError, match=words):
        import_checkpoint(path, tmp_path / "run", **{"architecture": "vgg", **options})


def test_the_verb_writes_what_export_reads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = extension_file(tmp_path / "best_gt.pth.tar", published_state("mobilenet"))
    (tmp_path / "names.txt").write_text("ant\nbee\ncat\ndog\n", encoding="utf-8")
    words = ["import-checkpoint", str(path), "--arch", "mobilenet", "--classes"]
    assert main([*words, str(tmp_path / "names.txt"), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["checkpoint"] == str(tmp_path / "best_gt" / "checkpoint.safetensors")
    assert said["architecture"] == "mobilenet_v1"
    assert load_checkpoint(tmp_path / "best_gt").info.classes == ("ant", "bee", "cat", "dog")
    with pytest.raises(InputError, match=r"Cannot create .*names\.txt"):
        import_checkpoint(path, tmp_path / "names.txt", architecture="mobilenet")
    with pytest.raises(InputError, match=r"Cannot create .*names\.txt"):
        export(tmp_path / "best_gt", tmp_path / "names.txt" / "net.onnx")
    export(tmp_path / "best_gt", tmp_path / "net.onnx", simplify=False)
    path = extension_file(tmp_path / "voc.pth.tar", published_state("segmentation"))
    assert (
        main(["import-checkpoint", str(path), "--arch", "resnet50", "--task", "segmentation"]) == 0
    )
    run = tmp_path / "voc"
    assert f"Next:\n  bas-edge seeds {run} DATA -o {run}_masks\n" in capsys.readouterr().out
