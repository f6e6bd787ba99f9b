"""XLA's persistent compilation cache, and how many programs came from it."""

import os
from pathlib import Path
from typing import Any

import jax

HIT, REQUEST = "/jax/compilation_cache/cache_hits", "/jax/compilation_cache/compile_requests_use_cache"


class Programs:
    """How many programs were compiled, and how many of them were read from the cache instead."""

    def __init__(self):
        self.requests = self.hits = 0

    def saw(self, event: str, **details: Any) -> None:
        """Counts an event of JAX's; to be registered as a listener.

        Args:
            event: its name.
            **details: not looked at.
        """
        self.requests += event == REQUEST
        self.hits += event == HIT

    def taken(self) -> tuple[int, int]:
        """The programs, and how many of them were read, since this was asked last."""
        found, self.requests, self.hits = (self.requests, self.hits), 0, 0
        return found

    def said(self) -> str:
        """What a person reads."""
        fresh = self.requests - self.hits
        return f"programs: {self.hits} read from the compilation cache, {fresh} compiled"


def cache_folder() -> Path | None:
    """This package's part of the user's cache folder; None of a user who has no home."""
    if chosen := os.environ.get("XDG_CACHE_HOME"):
        return Path(chosen) / "lrelu-jax"
    try:
        return Path.home() / ".cache" / "lrelu-jax"
    except RuntimeError:  # a container's user often is in no list, and HOME not set
        return None


def use_cache() -> None:
    """Turns the persistent compilation cache on, in the user's cache folder if no other was chosen.

    JAX's own settings have the last word: with `jax_enable_compilation_cache` off nothing is kept, and
    `jax_compilation_cache_dir` says where.
    """
    if not getattr(jax.config, "jax_enable_compilation_cache", True):
        return
    if not getattr(jax.config, "jax_compilation_cache_dir", None):
        folder = cache_folder()
        if folder is None:
            return  # programs are compiled anew in each process, no more
        folder /= "xla"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            return
        jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


def count_programs() -> Programs:
    """Counts programs from now on."""
    programs = Programs()
    jax.monitoring.register_event_listener(programs.saw)
    return programs


def count_elsewhere(programs: tuple[int, int]) -> None:
    """Has programs counted here that another process compiled or read.

    Args:
        programs: how many it asked for, and how many of them it read.
    """
    for event, count in zip((REQUEST, HIT), programs, strict=True):
        for _ in range(count):
            jax.monitoring.record_event(event)
