"""CI installs the lowest versions that are said to be enough."""

import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[1]
LEFT_OUT = {"ray", "jax2onnx", "keras", "torch", "ruff", "pyright"}  # as the file's first lines say


def test_every_lower_bound_is_installed_in_ci():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    wanted = {}
    for line in (*project["dependencies"], *(line for extra in extras for line in extra)):
        requirement = Requirement(line)
        if requirement.name not in LEFT_OUT | {project["name"]}:
            (bound,) = requirement.specifier
            assert bound.operator == ">=", line
            assert wanted.setdefault(requirement.name, Version(bound.version)) == Version(bound.version), line
    pinned = {}
    for line in (ROOT / ".github/lowest.txt").read_text().splitlines():
        if not line.startswith("#"):
            requirement = Requirement(line)
            (bound,) = requirement.specifier
            assert bound.operator == "==", line
            pinned[requirement.name] = Version(bound.version)
    assert pinned == wanted
