import shlex

from sweeps.errors import resume_line


def test_the_line_that_goes_on_with_a_run_is_one_that_a_shell_takes(tmp_path):
    assert resume_line("runs/mine") == "sweeps resume runs/mine"
    for directory in (tmp_path / "two words", "it's; $x"):
        assert shlex.split(resume_line(directory)) == ["sweeps", "resume", str(directory)]
