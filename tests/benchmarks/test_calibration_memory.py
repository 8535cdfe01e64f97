"""The memory case on a few small images: all of them are used, and its row reads back."""

from __future__ import annotations

from pathlib import Path

import msgspec
from colour_network import write_network
from PIL import Image

from benchmarks.calibration_memory import memory_row, write_images
from benchmarks.rows import Provenance, append_row, missed_targets, read_rows
from benchmarks.tables import page_with_rows, row_line


def test_images_are_different_and_of_the_size_asked_for(tmp_path: Path) -> None:
    write_images(tmp_path, 4, (54, 96))
    paths = sorted(tmp_path.iterdir())
    assert len({path.read_bytes() for path in paths}) == 4
    with Image.open(paths[0]) as image:
        assert (image.size, image.format) == ((96, 54), "JPEG")


def test_a_row_of_a_child_process(provenance: Provenance, tmp_path: Path) -> None:
    model = write_network(tmp_path / "net.onnx")
    row = memory_row(5, provenance, (54, 96), model)
    assert (row.images, row.frame) == (5, "96 × 54")
    assert row.what == "int8 build, net"
    assert 10 < row.peak_rss_mib < row.limit_mib
    assert missed_targets(row) == []
    rows = tmp_path / "rows"
    append_row(row, rows)
    assert read_rows(rows) == [row]
    assert "5 of 5 images of 96 × 54" in row_line(row)
    page = page_with_rows("<!-- rows: memory -->\n<!-- end of rows -->", read_rows(rows))
    assert "| int8 build, net | 5 | 96 × 54 | 32 × 32 |" in page
    worse = msgspec.structs.replace(row, images=4, peak_rss_mib=1600.0)
    assert missed_targets(worse) == [
        "calibration_memory: 4 of 5 images",
        "calibration_memory: 1600 MiB, under 1536 MiB asked",
    ]
