"""`bas-edge inspect`: what an engine says about itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bas_edge.cli.options import Engine, Json
from bas_edge.cli.output import print_json, print_rows

if TYPE_CHECKING:
    from bas_edge.engine.manifest import Manifest

__all__ = ["command"]


def command(engine: Engine, json_output: Json = False) -> None:
    """Show an engine's manifest, after checking its files against their hashes."""
    import msgspec

    from bas_edge.engine.inspect import describe
    from bas_edge.engine.manifest import Manifest

    found = describe(engine)
    if json_output:
        print_json(found)
        return
    what = "hashes are in order" if found["kind"] == "bundle" else "an exported graph"
    print(f"{found['path']}: {what}, {found['size_bytes'] / 1e6:.1f} MB\n")
    print_rows(_rows(msgspec.convert(found["manifest"], Manifest)))


def _rows(manifest: Manifest) -> list[tuple[str, str]]:
    policy, cut, training = manifest.input, manifest.threshold, manifest.training
    names = list(manifest.classes)
    shown = ", ".join(names[:8]) + (f", … ({len(names) - 8} more)" if len(names) > 8 else "")
    kind = "of each map's range" if cut.rule == "fixed" else "× the mean of the normalised map"
    rows = [
        ("name", manifest.name),
        ("task", manifest.task),
        ("classes", f"{len(names)}: {shown}"),
        ("input", f"{policy.width}×{policy.height} RGB uint8, {policy.resize}"),
        ("maps", f"{manifest.maps}, K = {manifest.k}, the best {manifest.top_k} averaged"),
        ("threshold", f"{cut.value:g} {kind}" + (f" ({cut.chosen_by})" if cut.chosen_by else "")),
        ("min score", f"{manifest.min_score:g}"),
        ("precision", manifest.precision),
        ("backend", manifest.backend),
        ("trained", " ".join(filter(None, (training.architecture, training.head)))),
        ("recipe", training.recipe),
        ("images", f"{training.images} in {training.epochs} epochs" if training.images else ""),
    ]
    rows += [("plan", f"{p.backend} {p.library_version}: {p.file.path}") for p in manifest.plans]
    rows += [
        (f"file {file.path}", f"{file.size_bytes:,} bytes, sha256 {file.sha256[:12]}…")
        for file in ((manifest.model,) if manifest.model else ()) + manifest.files
    ]
    for accuracy in manifest.accuracy:
        title = f"{accuracy.data}, {accuracy.images} images, protocol {accuracy.protocol}"
        rows.append(("accuracy", title))
        rows += [(f"  {name}", f"{value:.1f}") for name, value in accuracy.metrics.items()]
    rows += [("created by", manifest.created_by), ("built with", manifest.build_command)]
    return [(name, value) for name, value in rows if value]
