"""docs/serve.md says what there is."""

from __future__ import annotations

from pathlib import Path

from served import Served, until

from bas_edge.serve import server
from bas_edge.serve.operations import OPERATIONS
from bas_edge.serve.options import SHORTEST_TOKEN, ServeOptions

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "serve.md").read_text(encoding="utf-8")


def test_every_operation_is_documented() -> None:
    assert [each for each in OPERATIONS if f"`{each.method} {each.path}`" not in TEXT] == []


def test_every_metric_is_documented_and_no_other(shared: Served) -> None:
    until(lambda: shared.views.newest("door") is not None)
    shared.ask("GET", "/api/streams", token=None)
    lines = shared.ask("GET", "/metrics").content.decode().splitlines()
    names = {line.split()[2] for line in lines if line.startswith("# TYPE")}
    documented = {word.strip("`,;.(") for word in TEXT.split() if word.startswith("`bas_edge_")}
    assert names == documented


def test_the_limits_are_those_of_the_options() -> None:
    options = ServeOptions(token="x" * SHORTEST_TOKEN)
    for words in (
        f"`max_clients`, {options.max_clients} |",
        f"`max_view_fps`, {options.max_view_fps:g} |",
        f"{options.max_body_bytes >> 10} KiB",
        f"{options.reads_per_s:g} a second",
        f"{options.changes_per_s:g} a second",
        f"{options.wrong_tokens_per_minute:g} a minute",
        f"{SHORTEST_TOKEN} characters",
        f"{options.port};",
        f"asks for something | {server._PATIENCE_S:g} s |",
        f"nothing yet | {server._MOST_WAITING} |",
    ):
        assert words in TEXT, words
