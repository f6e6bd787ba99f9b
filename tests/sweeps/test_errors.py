import shlex

from sweeps.errors import printable, resume_line


def test_the_line_that_goes_on_with_a_run_is_one_that_a_shell_takes(tmp_path):
    assert resume_line("runs/mine") == "sweeps resume runs/mine"
    for directory in (tmp_path / "two words", "it's; $x"):
        assert shlex.split(resume_line(directory)) == ["sweeps", "resume", str(directory)]


def test_what_a_terminal_would_obey_is_shown_escaped():
    assert printable("\x1b[31mred\x07\r\x9b2J\u202eleft") == r"\x1b[31mred\x07\r\x9b2J\u202eleft"
    assert printable("α = 0.1,\nβ\u202f%") == "α = 0.1,\nβ\u202f%"
