"""A link that opens a file, as the terminal that shows it can."""

from collections.abc import Mapping
from pathlib import Path

# What terminals that know links say of themselves; others may print the codes of one.
SAID = ("KITTY_WINDOW_ID", "WT_SESSION", "KONSOLE_VERSION", "ITERM_SESSION_ID", "DOMTERM", "GHOSTTY_BIN_DIR")
PROGRAMS = ("iTerm.app", "WezTerm", "vscode", "ghostty", "Hyper", "Tabby", "rio")
KINDS = ("xterm-kitty", "foot", "alacritty", "wezterm", "xterm-ghostty", "contour")
OLDEST_VTE = 5000  # of GNOME's terminals


def link(path: Path, terminal: bool, environment: Mapping[str, str]) -> str:
    """The address of a file; in a terminal that knows links (OSC 8), a link to it.

    Args:
        path: the file.
        terminal: whether a terminal shows it.
        environment: variables of the process.

    Example:
        >>> link(Path("/runs/report.html"), False, {})
        'file:///runs/report.html'
    """
    address = path.resolve().as_uri()
    return (
        f"\033]8;;{address}\033\\{address}\033]8;;\033\\"
        if terminal and _knows_links(environment)
        else address
    )


def _knows_links(environment: Mapping[str, str]) -> bool:
    kind, vte = environment.get("TERM", ""), environment.get("VTE_VERSION", "")
    if kind in ("dumb", "linux") or kind.startswith("screen"):  # which may stand before one that does
        return False
    return (
        any(environment.get(name) for name in SAID)
        or environment.get("TERM_PROGRAM") in PROGRAMS
        or kind.startswith(KINDS)
        or (vte.isdecimal() and int(vte) >= OLDEST_VTE)
    )
