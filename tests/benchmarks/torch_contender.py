"""PyTorch as a contender: `torch_contender.py mlp DIGITS.npz adam [STEPS]`, member by member on one thread.

The third argument is `adam`, `fused` (PyTorch's fused Adam) or `optuna`: Adam, with Optuna choosing slope
and seed.
"""

import sys
from collections.abc import Callable
from typing import Any

from tests.benchmarks.contenders import pin, serve

pin()

import numpy as np  # noqa: E402
import torch  # noqa: E402  # pyright: ignore[reportMissingImports]

torch.set_num_threads(1)

BATCH, LEARNING_RATE = 128, 1e-3
STEPS = {"mlp": 300, "cnn": 50, "gru": 100}


def lecun(weight: Any) -> None:
    """Flax's default: a normal cut at two deviations, of variance 1 / inputs."""
    deviation = (1 / weight[0].numel()) ** 0.5 / 0.87962566103423978
    torch.nn.init.trunc_normal_(weight, 0.0, deviation, -2 * deviation, 2 * deviation)


class Recurrent(torch.nn.Module):
    """A GRU over the rows; its last output is classified."""

    def __init__(self, alpha: float):
        super().__init__()
        self.rows, self.rectify = torch.nn.GRU(8, 64, batch_first=True), torch.nn.LeakyReLU(alpha)
        self.logits = torch.nn.Linear(64, 10)

    def forward(self, inputs: Any) -> Any:
        return self.logits(self.rectify(self.rows(inputs.view(-1, 8, 8))[0][:, -1]))


def network(name: str, alpha: float) -> Any:
    """The network, initialised as Flax does."""
    nn = torch.nn
    if name == "gru":
        model: Any = Recurrent(alpha)
    elif name == "cnn":
        model = nn.Sequential(
            nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 16, 3, padding=1), nn.LeakyReLU(alpha),
            nn.Conv2d(16, 16, 3, padding=1), nn.LeakyReLU(alpha), nn.MaxPool2d(2), nn.Flatten(),
            nn.Linear(256, 10),
        )  # fmt: skip
    else:
        model = nn.Sequential(
            nn.Linear(64, 128),
            nn.LeakyReLU(alpha),
            nn.Linear(128, 128),
            nn.LeakyReLU(alpha),
            nn.Linear(128, 10),
        )
    for key, value in model.named_parameters():
        if "bias" in key:
            nn.init.zeros_(value)
        elif "weight_hh" in key:
            nn.init.orthogonal_(value.data.view(64, -1))
        else:
            lecun(value.data)
    return model


def main() -> None:
    name, digits, mode, *rest = sys.argv[1:]
    steps = int(rest[0]) if rest else STEPS[name]
    stored = np.load(digits)
    train_x, test_x = (torch.tensor(stored[key]) for key in ("train_x", "test_x"))
    train_y, test_y = (torch.tensor(stored[key]).long() for key in ("train_y", "test_y"))
    loss = torch.nn.functional.cross_entropy
    per_epoch = len(train_x) // BATCH

    def member(alpha: float, seed: int) -> tuple[float, float]:
        torch.manual_seed(seed)
        model = network(name, alpha)
        options: dict[str, Any] = {"fused": True} if mode == "fused" else {}
        optimizer = torch.optim.Adam(model.parameters(), LEARNING_RATE, **options)
        order = torch.empty(0)
        for step in range(steps):
            place = step % per_epoch * BATCH
            if place == 0:
                order = torch.randperm(len(train_x))
            index = order[place : place + BATCH]
            optimizer.zero_grad()
            loss(model(train_x[index]), train_y[index]).backward()
            optimizer.step()
        with torch.no_grad():
            logits = model(test_x)
            return float(loss(logits, test_y)), float((logits.argmax(1) == test_y).float().mean())

    def by_optuna() -> Callable[[int], list[tuple[float, float]]]:
        import optuna  # pyright: ignore[reportMissingImports]

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        study, found = optuna.create_study(direction="maximize"), []

        def objective(trial: Any) -> float:
            found.append(member(trial.suggest_float("alpha", 0, 0.3), trial.suggest_int("seed", 0, 7)))
            return found[-1][1]

        def optimize(members: int) -> list[tuple[float, float]]:
            study.optimize(objective, n_trials=members)
            return found[-members:]

        return optimize

    one_by_one = (
        by_optuna() if mode == "optuna" else lambda count: [member(0.1, seed) for seed in range(count)]
    )

    def train(members: int) -> dict[str, Any]:
        losses, accuracies = zip(*one_by_one(members), strict=True)
        return {"loss": float(np.mean(losses)), "accuracy": float(np.mean(accuracies))}

    serve(train, 1)


if __name__ == "__main__":
    main()
