"""A network's matrix products as a contender, and nothing else: `products_contender.py mlp`.

What the steps of its members cannot do without, each product in the fastest of its forms: the limit of any
contender that trains them on this core.
"""

import sys
from typing import Any

from tests.benchmarks.contenders import serve
from tests.benchmarks.limits import PRODUCTS, fastest
from tests.benchmarks.networks import WORK


def main() -> None:
    name = sys.argv[1]
    alone = [(product.times * WORK[name].steps, fastest(product)) for product in PRODUCTS[name]]

    def train(members: int) -> dict[str, Any]:
        for times, form in alone:
            form.loop(round(times * members / form.members))
        return {}

    serve(train, WORK[name].timed)


if __name__ == "__main__":
    main()
