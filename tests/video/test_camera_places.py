"""Mistakes in a `cameras.toml`: each is told with its file, its place, and words of the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from bas_edge.errors import InputError
from bas_edge.video.camera_config import read_cameras

HEAD = """
engine = "birds.engine"
[[camera]]
source = "rtsp://me:hunter2@yard/live"
[[camera]]
name = "door"
source = "rtsp://door/live"
"""
DOOR = "camera 'door' (camera[1])"
CLIPS = '[[camera.sink]]\ntype = "clips"\n[[camera.sink.rule]]\nname = "visit"\n'
VISIT = f"{DOOR}, sink[0] (clips), rule 'visit' (rule[0])"


def refusal(folder: Path, text: str) -> InputError:
    file = folder / "cameras.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        read_cameras(file)
    said = str(caught.value)
    assert said.startswith(f"{file}: ")
    assert "hunter2" not in said
    assert said.endswith(".")
    return caught.value


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("max_fps = -1.0", f"{DOOR}: max_fps is -1.0, but must be a positive number.", None),
        ("depth = 0", f"{DOOR}: depth is 0 frames, but must be a whole number: 1 to 1000.", None),
        ("depth = 2.5", f"{DOOR}: depth must be a whole number, but is 2.5.", None),
        ("realtime = 1", f"{DOOR}: realtime must be true or false, but is 1.", None),
        ("loop = 1.5", f"{DOOR}: loop must be true or false, but is 1.5.", None),
        ("stride = true", f"{DOOR}: stride must be a whole number, but is true.", None),
        ('live = "tcp"', f"{DOOR}: live must be a table, but is a text in quotes.", None),
        ("smooth = 3", f"{DOOR}: smooth must be a text in quotes or a table, but is 3.", None),
        ("fps = 2020-01-01", f"{DOOR}: fps must be a number, but is a date.", None),
        ("sink = 3", f"{DOOR}: sink must be a list, but is 3.", None),
        ('sink = ["csv"]', f"{DOOR}: sink[0] must be a table, but is a text in quotes.", None),
        ('smooth = "heavy"', f"{DOOR}: Unknown smoothing 'heavy': it must be one of off", "docs/"),
        ("smooth = { beta = -1 }", f"{DOOR}, smooth: beta is -1", 'The preset "light" has beta'),
        ("smooth = { forget_s = 0 }", f"{DOOR}, smooth: forget_s is 0", 'the preset "off"'),
        ("live = { silence_s = 0.0 }", f"{DOOR}, live: silence_s is 0.0", None),
        (
            'live = { transport = "tpc" }',
            f"{DOOR}, live: transport is 'tpc', which is none of tcp, udp.",
            "Did you mean 'tcp'?",
        ),
        (
            "live = { options = { a = 1 } }",
            f"{DOOR}, live: a value of options must be a text in quotes, but is a whole number.",
            None,
        ),
        ("reconnect = { attempts = -1 }", f"{DOOR}, reconnect: attempts is -1", "Leave it out"),
        ("reconnect = { factor = 0.5 }", "factor is 0.5, but must be 1 or more.", None),
        ("reconnect = { jitter = 2.0 }", "jitter is 2.0, but must be 0 to 1.", None),
        (
            "colour = 3",
            f"{DOOR}: the key 'colour' is not known.",
            "Known: depth, fps, live, loop, max_fps, name, policy, realtime, reconnect, sink, "
            "smooth, source, stall_s, stride.",
        ),
        (
            'sink = [{ type = "jsonll" }]',
            f"{DOOR}, sink[0] (jsonll): type is 'jsonll', which is none of jsonl, csv, video, "
            "crops, clips, events, mqtt, webhook.",
            "Did you mean 'jsonl'?",
        ),
        (
            'sink = [{ path = "x" }]',
            f"{DOOR}, sink[0]: the key 'type' is missing.",
            "One of: jsonl, csv, video, crops, clips, events, mqtt, webhook.",
        ),
        (
            'sink = [{ type = "csv", maxbytes = 1 }]',
            f"{DOOR}, sink[0] (csv): the key 'maxbytes' is not known.",
            "Did you mean 'max_bytes'?",
        ),
        (
            CLIPS + "zone = [[0.0, 0.0], [1.0, 1.0]]",
            f"{VISIT}: A zone has 2 corners",
            "(0, 0.5), (1, 0.5)",
        ),
        (
            CLIPS + "zone = [[0, 0, 0]]",
            f"{VISIT}: zone[0] must be a list of 2 values, but has 3.",
            None,
        ),
        (
            CLIPS + 'zone = [["a", 0]]',
            f"{VISIT}: zone[0][0] must be a number, but is a text in quotes.",
            None,
        ),
        (CLIPS + 'classes = "wren"', f"{VISIT}: classes must be a list, but is a text", None),
        (CLIPS + "min_score = 60", f"{VISIT}: The rule 'visit' has min_score 60", None),
        ('sink = [{ path = "${NOWHERE}" }]', f"{DOOR}, sink[0], path: there is no envi", "export"),
        ("[server]\nprt = 1", "server: the key 'prt' is not known.", "Did you mean 'port'?"),
        ('[server]\nallowed_hosts = ["a", 3]', "server: allowed_hosts[1] must be a text", None),
        ('[[sink]]\ntype = "video"\nfsp = 3', "sink[0] (video): the key 'fsp'", "'fps'"),
        ("[defaults]\nmax_fps = -1.0", "[defaults]: max_fps is -1.0", None),
        ("[defaults]\npolcy = 1", "[defaults]: the key 'polcy' is not known.", "'policy'"),
        ("[default]\nfps = 5.0", "the key 'default' is not known.", "Did you mean 'defaults'?"),
        (
            "[file]",
            "the key 'file' is not known.",
            "Known: camera, defaults, engine, output, server, sink.",
        ),
    ],
)
def test_a_mistake_is_found_without_a_search(
    tmp_path: Path, text: str, message: str, hint: str | None
) -> None:
    error = refusal(tmp_path, f"{HEAD}{text}\n")
    assert message in str(error)
    if hint is None:
        assert error.hint is None
    else:
        assert hint in (error.hint or "")


def test_a_camera_without_a_name_is_told_by_its_address(tmp_path: Path) -> None:
    error = refusal(tmp_path, HEAD.replace('live"\n', 'live"\nfps = "x"\n', 1))
    assert "cameras.toml: camera[0] (rtsp://***@yard/live): fps must be a number" in str(error)
