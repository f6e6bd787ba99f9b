"""The ready studies are listed, and what they found is written down; cheap, so that it always runs."""

import ast
import re

import pytest

from sweeps.cli.main import main
from sweeps.cli.reference import READY, ready_studies

CLAIMING = [
    name
    for name in ready_studies()
    if "CLAIMS" in (READY / f"{name.replace('-', '_')}.py").read_text(encoding="utf-8")
]
README = (READY / "README.md").read_text(encoding="utf-8")


def test_every_study_is_in_the_list(capsys):
    assert main(["list"]) == 0
    listed = capsys.readouterr().out
    assert {"annealing", "depth", "normalisation", "transfer"} <= set(CLAIMING)
    for name, line in ready_studies().items():
        assert name in listed and line.rstrip(".")[:30] in listed


@pytest.mark.parametrize("name", CLAIMING)
def test_every_claim_is_in_the_table(name):
    """A row for each claim; those of studies that share their claims have them from the other's file."""
    rows = [line for line in README.splitlines() if line.startswith("|") and f"(`{name}`)" in line]
    assert rows, "sweeps reproduce writes the table, reproduction.md"
    tree = ast.parse((READY / f"{name.replace('-', '_')}.py").read_text(encoding="utf-8"))
    claims = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and _called(node) == "Claim"]
    if claims:
        texts = [ast.literal_eval(claim.args[0]) for claim in claims]
        assert [row.split(" | ")[0].removeprefix("| ") for row in rows] == texts


def test_the_table_is_counted_right():
    rows = re.findall(r"\| \*\*(.+)\*\* \|$", README, re.MULTILINE)
    said = re.search(r"<summary>(\d+) claims: (\d+) hold, (\d+) hold under some conditions, (\d+) do", README)
    assert said is not None
    found = [len(rows), *(rows.count(word) for word in ("holds", "holds under these conditions"))]
    assert [int(number) for number in said.groups()] == [*found, rows.count("does not hold here")]


def _called(node: ast.Call) -> str:
    return node.func.id if isinstance(node.func, ast.Name) else ""
