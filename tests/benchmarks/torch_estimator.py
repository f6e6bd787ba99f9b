"""A PyTorch network as scikit-learn's searches take it."""

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin


class TorchMLP(ClassifierMixin, BaseEstimator):
    """The benchmark's MLP, trained with Adam on one thread."""

    def __init__(self, alpha: float = 0.01, seed: int = 0, steps: int = 300):
        self.alpha, self.seed, self.steps = alpha, seed, steps

    def fit(self, inputs: np.ndarray, targets: np.ndarray) -> "TorchMLP":
        """Trains the network."""
        import torch  # pyright: ignore[reportMissingImports]

        from tests.benchmarks.torch_contender import BATCH, LEARNING_RATE, network

        torch.set_num_threads(1)
        torch.manual_seed(self.seed)
        self.classes_ = np.unique(targets)
        x, y = torch.tensor(inputs), torch.tensor(targets).long()
        model = network("mlp", self.alpha)
        optimizer = torch.optim.Adam(model.parameters(), LEARNING_RATE)
        per_epoch, order = len(x) // BATCH, torch.empty(0)
        for step in range(self.steps):
            place = step % per_epoch * BATCH
            if place == 0:
                order = torch.randperm(len(x))
            rows = order[place : place + BATCH]
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
            optimizer.step()
        self.model_: Any = model
        return self

    def predict(self, inputs: np.ndarray) -> np.ndarray:
        """The class of each input."""
        import torch  # pyright: ignore[reportMissingImports]

        with torch.no_grad():
            return self.model_(torch.tensor(inputs)).argmax(1).numpy()
