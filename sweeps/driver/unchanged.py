"""Whether a run goes on with the settings, the data and the programs that it began with."""

from collections.abc import Sequence
from typing import Any

from sweeps.engine.noticing import refuse_other_programs
from sweeps.engine.plan import Examined
from sweeps.errors import StudyError
from sweeps.store import manifest


def refuse_other_settings(recorded: dict[str, Any]) -> None:
    """Raises a StudyError if JAX would compute other numbers than when the run began.

    Args:
        recorded: the manifest of the run.
    """
    before = recorded.get("jax_settings", {})  # which earlier versions did not take down
    changes = manifest.differences(before, manifest.jax_settings())
    if changes:
        cure = ", ".join(
            f"jax.config.update({name!r}, {value!r})"
            for name, value in before.items()
            if value != manifest.jax_settings().get(name)
        )
        raise StudyError(
            f"`JAX's settings are those that this run began with` must hold, but got {'; '.join(changes)}; "
            f"{cure} sets them back, or start a new run"
        )


def refuse_other_code(recorded: dict[str, Any], examined: Examined) -> None:
    """Raises a StudyError if the data or the programs are not those that the run began with.

    Args:
        recorded: the manifest of the run.
        examined: the study, as it is now.
    """
    digests, versions = recorded["digests"], manifest.versions()
    if digests["data"] != examined.digests["data"]:
        raise StudyError(
            "`the data is what it was when this run began` must hold, but got other arrays; go back to them, "
            "or start a new run"
        )
    if recorded["versions"]["jax"] != versions["jax"]:  # another says the same program in other words
        return
    changed = _changed(digests["programs"], examined.digests["programs"])
    refuse_other_programs(examined.study, examined.population, changed)
    # What an earlier version did not take down cannot be compared.
    if _changed(digests.get("divergence", ()), examined.digests["divergence"]):
        raise StudyError(
            "`members diverge by the rule that this run began with` must hold, but got another "
            "`diverge_above` or `Trial.diverged`; go back to it, or start a new run"
        )


def _changed(before: Sequence[str | None], now: Sequence[str | None]) -> dict[int, str]:
    """The groups whose digests are not those recorded, and what is recorded."""
    pairs = enumerate(zip(before, now, strict=False))
    # A group that could not be built has none; it is tried again.
    return {group: old for group, (old, new) in pairs if old and new and old != new}
