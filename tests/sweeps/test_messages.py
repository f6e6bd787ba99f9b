"""All messages of both packages, read as a list: `python tests/sweeps/test_messages.py` prints it.

A message has one of two forms. `…` must hold, but got …; cure: for what is mathematics, or as exact. Or
sentences, for a slip: Config has no field "alhpa". Did you mean "alpha"?
"""

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted([*(ROOT / "sweeps").rglob("*.py"), *(ROOT / "lrelu_jax").rglob("*.py")])
HOLE = "◻"  # what stands for a value in a message
MOST = 400  # characters of a message without its values
FRAGMENTS = {  # kinds whose text is a part of what somebody reads
    "Damaged": "what is wrong with a file, in a line of `sweeps status`",
    "Died": "how a worker ended, in why its chunk failed",
    "Failed": "what a worker raised, in why its chunk failed",
    "ConnectionError": "how all workers ended, in why their chunks failed",
    "Superseded": "why a worker stops for which nobody waits any more",
    "ArgumentTypeError": "argparse says which argument before it",
    "KeyboardInterrupt": "Python says that it was Ctrl-C",
    "SystemExit": "a number",
    "TimeUp": "caught where the run ends, which says so itself",
    "without_evaluation": "a function that makes the error",
}
PARTS = {  # and texts that are
    "an argument is given twice": "of a call in the grammar",
    "bounds are whole numbers": "of a call in the grammar",
    "not a measurement": "of a file that is measured anew",
    "it holds one array": "after the name of the .npz file",
    "it has no array": "after the name of the .npz file",
}
RULE = r"\bmust(?: only)? (?:be|have|hold|lie|call|exist|begin|not)\b|\bneeds? |\bneeded\b|be counted|has no "


class Message(NamedTuple):
    """A message: where it is raised, as what, and its text with a square for each value in it."""

    where: str
    kind: str
    text: str


def texts(node: ast.expr | None, known: dict[str, list[ast.expr]]) -> Iterator[str]:
    """What an expression may be, as far as the source says it."""
    match node:
        case ast.Constant(value=str() as text):
            yield text
        case ast.JoinedStr(values=[first, *others]):
            for text in texts(first, known):
                yield from (text + rest for rest in texts(ast.JoinedStr(others), known))
        case ast.JoinedStr():
            yield ""
        case ast.FormattedValue(value=ast.Name(id=name)) if name in known:
            for value in known[name]:
                yield from texts(value, known)
        case ast.IfExp(body=body, orelse=other):
            yield from texts(body, known)
            yield from texts(other, known)
        case ast.Call(func=ast.Name(id="unknown"), args=[said, *_]):
            yield from (f'{text} "{HOLE}". Did you mean "{HOLE}"?' for text in texts(said, known))
        case ast.Call(func=ast.Name(id=name)) if name in known:
            for value in known[name]:
                yield from texts(value, known)
        case _:
            yield HOLE


def known_in(tree: ast.AST) -> dict[str, list[ast.expr]]:
    """By the names of functions and variables what they return or are, of texts."""
    found: dict[str, list[ast.expr]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            inside = [
                inner.value for inner in ast.walk(node) if isinstance(inner, ast.Return) and inner.value
            ]
            found[node.name] = [
                value for value in inside if isinstance(value, ast.JoinedStr | ast.IfExp | ast.Call)
            ]
    return found


def raises(path: Path) -> Iterator[tuple[ast.Raise, dict[str, list[ast.expr]]]]:
    """Every `raise` of a file, and what is known of the names around it."""
    tree = ast.parse(path.read_text())
    functions, seen = known_in(tree), set[ast.Raise]()
    for scope in reversed([tree, *(node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))]):
        known, inside = dict(functions), list(ast.walk(scope))
        for node in inside:
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.JoinedStr | ast.Constant):
                for target in node.targets:
                    if isinstance(target, ast.Name):
                        known[target.id] = [*known.get(target.id, []), node.value]
        for node in inside:
            if isinstance(node, ast.Raise) and node not in seen:  # the innermost function's
                seen.add(node)
                yield node, known


def kind_of(node: ast.Raise) -> str:
    """The name of the class, or of what makes the error; empty for one that was made before."""
    said = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
    name = "" if said is None else ast.unparse(said).rpartition(".")[2]
    return name if isinstance(node.exc, ast.Call) or name[:1].isupper() else ""


def collected() -> list[Message]:
    found = []
    for path in FILES:
        for node, known in raises(path):
            if kind_of(node):
                first = node.exc.args[:1] if isinstance(node.exc, ast.Call) else []
                own = [text for argument in first for text in texts(argument, known)] or [""]
                where = f"{path.relative_to(ROOT)}:{node.lineno}"
                found += [Message(where, kind_of(node), text) for text in own]
    return sorted(found)


@functools.cache
def messages() -> list[Message]:
    """All of them, collected once and where they are read alone: that takes seconds."""
    return collected()


@functools.cache
def whole() -> list[Message]:
    """What somebody reads as it stands."""
    return [
        each
        for each in messages()
        if each.kind not in FRAGMENTS
        and not each.text.startswith(tuple(PARTS))
        and not (HOLE in each.text and not re.search("[a-z]", each.text))  # made of others
    ]


def listed(found: list[Message]) -> str:
    return "\n".join(f"{each.where}: {each.kind}: {each.text}" for each in found)


def test_there_are_many_messages_and_the_exceptions_are_some_of_them():
    assert len(whole()) > 300 and len({each.where.partition(":")[0] for each in whole()}) > 70
    assert set(FRAGMENTS) <= {each.kind for each in messages()}
    assert not [part for part in PARTS if not any(each.text.startswith(part) for each in messages())]


def test_whatever_is_raised_has_a_message():
    assert not (wrong := [each for each in whole() if not each.text]), listed(wrong)


def test_a_message_says_what_must_hold_or_is_sentences():
    """Which end in a full stop, a question mark, or what somebody else says after a colon."""
    wrong = []
    for each in whole():
        sentences = re.search(rf"[.?]$|: {HOLE}+$", each.text)
        stopped = each.text.endswith(".") and ". " not in each.text
        if not (stopped or sentences if not re.search(RULE, each.text) else not stopped):
            wrong.append(each)
    assert not wrong, listed(wrong)


def test_a_rule_says_what_it_got_or_what_to_do():
    wrong = [each for each in whole() if "` must " in each.text and not re.search("but |; |: ", each.text)]
    assert not wrong, listed(wrong)


CODE = r"""[\w.`'"-]*[=(/{\[@_][^ ]*(?: [^ ]*[)\]}])?|--[\w-]+|\w+(?:[.:]\w+)+"""


@pytest.mark.parametrize(
    ("pattern", "example"),
    [
        (r"  |^ | $|\n| [,;:?!.](?: |$)", "`a` must hold, but  got 3"),
        (rf"[,;?][\w`\"{HOLE}]|\w\.[A-Z]", "`a` must hold,but got 3"),
        (r"[,;:][,;:.]|[.?][;,:.?]", "`a` must hold, but got 3;, write 4"),
        (r"\b([a-z]+) \1\b", "`a` must hold, but got got 3"),
        (r"^(?i:error|invalid|warning)\b", "Error: no such file."),
        (r"!", "No such file!"),
        (r"[;,] [A-Z][a-z]+ (?!layer|class|module|cluster)", "`a` must hold, but got 3; Write it so"),
    ],
)
def test_prose_is_clean(pattern, example):
    assert re.search(pattern, example)
    wrong = [each for each in whole() if re.search(pattern, re.sub(CODE, HOLE, each.text))]
    assert not wrong, listed(wrong)


def test_values_are_filled_in():
    """`{name}` in a text that is not an f-string."""
    wrong = [each for each in messages() if re.search(r"\{[a-z_]+(?:[.\[(:!][^}']*)?\}", each.text)]
    assert not wrong, listed(wrong)


def test_quotes_and_brackets_are_closed():
    wrong = [
        each
        for each in whole()
        if each.text.count("`") % 2
        or each.text.count('"') % 2
        or any(each.text.count(one) != each.text.count(other) for one, other in ("()", "[]"))
    ]
    assert not wrong, listed(wrong)


def test_no_message_is_long():
    assert not (wrong := [each for each in whole() if len(each.text.replace(HOLE, "")) > MOST]), listed(wrong)


def test_parts_of_a_text_have_a_space_between_them():
    """Where a line of the source ends, so that no two words become one."""
    wrong = []
    for path in FILES:
        source = path.read_text()
        for node, _ in raises(path):
            text = ast.get_source_segment(source, node) or ""
            for before, after in re.findall(r"""(.)["']\n\s*[fr]*["'](.)""", text):
                if " " not in before + after and before not in "}(" and after not in "{,;":
                    wrong.append(f"{path.relative_to(ROOT)}:{node.lineno}: …{before}|{after}…")
    assert not wrong, wrong


if __name__ == "__main__":
    print(listed(messages()))
