"""Hyperparameters that an optimiser keeps in its state, as `optax.inject_hyperparams` does.

What is kept there is what the configuration said when a member began. A value that changes while it is
trained, by a `Schedule` or by population-based training, would change in the configuration alone.
"""

from collections.abc import Callable
from typing import Any

import jax


def injected(state: Any, fresh: Callable[[], Any]) -> Any:
    """The state with the hyperparameters of the configuration as it is now; all else is left as it is.

    Args:
        state: an optimiser's state.
        fresh: makes the state that the optimiser of this configuration would begin with.
    """
    if not any(map(_injects, jax.tree.leaves(state, is_leaf=_injects))):
        return state
    return _renewed(state, fresh())


def _renewed(state: Any, fresh: Any) -> Any:
    def renew(own: Any, new: Any) -> Any:
        if not _injects(own):
            return own
        inner = _renewed(own.inner_state, new.inner_state)
        return own._replace(hyperparams=new.hyperparams, inner_state=inner)

    return jax.tree.map(renew, state, fresh, is_leaf=_injects)


def _injects(node: Any) -> bool:
    # Optax has had two classes of them.
    return {"hyperparams", "inner_state"} <= set(getattr(node, "_fields", ()))
