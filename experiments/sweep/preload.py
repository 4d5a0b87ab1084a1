"""What the fork server imports, once: all that points need. It computes nothing and has no state.

Kernels of the planner are loaded from numba's cache by planning one small graph.
"""

import ckpt.cli  # noqa: F401  # the main module of the command imports it
import experiments.points.registry  # noqa: F401
from policies import Limits, solve
from policies.generate import chain

solve(chain(20).with_budget("0.7x"), limits=Limits(work=200))
for policy in ("greedy", "sqrt", "dtr", "knapsack"):
    solve(chain(6).with_budget("1x"), policy)
