"""Check that constraints.txt can be installed on other Python versions than this one.

    python .ci/resolve.py 3.10 3.13

For each version, pip resolves the package's requirements and extras against the constraints
(a dry run: nothing is installed). pip evaluates environment markers for the interpreter that
runs it, so the markers of our own files are evaluated here, for the version asked about.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from packaging.requirements import Requirement

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

REPOSITORY = Path(__file__).resolve().parent.parent
EXTRAS = ("build", "train", "video", "tracking", "mqtt", "webhook", "report")


def for_version(lines: list[str], version: str) -> list[str]:
    """The requirements among `lines` whose markers hold on Python `version`, without markers."""
    kept = []
    for line in lines:
        requirement = Requirement(line)
        environment = {"python_version": version, "python_full_version": f"{version}.0"}
        if requirement.marker is None or requirement.marker.evaluate(environment):
            requirement.marker = None
            kept.append(str(requirement))
    return kept


def resolves(version: str) -> bool:
    """Whether pip finds a set of wheels for Python `version`; prints what it chose."""
    constraints = [
        line.strip()
        for line in (REPOSITORY / "constraints.txt").read_text().splitlines()
        if line.strip() and not line.startswith("#")
    ]
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    wanted = list(project["dependencies"])
    for extra in EXTRAS:
        wanted += [r for r in project["optional-dependencies"][extra] if "bas-edge" not in r]
    with tempfile.TemporaryDirectory() as scratch:
        pins = Path(scratch) / "constraints.txt"
        pins.write_text("\n".join(for_version(constraints, version)))
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run"]
        command += ["--ignore-installed", "--only-binary=:all:", "--python-version", version]
        command += ["--target", scratch, "--constraint", str(pins)]
        status = subprocess.run([*command, *for_version(wanted, version)], check=False).returncode
    print(f"Python {version}: {'resolves' if status == 0 else 'DOES NOT RESOLVE'}")
    return status == 0


if __name__ == "__main__":
    outcomes = [resolves(version) for version in sys.argv[1:]]  # all of them, also after a failure
    sys.exit(not all(outcomes))
