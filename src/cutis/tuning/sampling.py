"""What a trial tries: TPE, seeded by the trial's number, so that no two workers and no resumed one draw the same.

SE-LCN, Sec. 5.2, has a Bayesian search; here it is TPE (Bergstra et al., "Algorithms for hyper-parameter optimization",
2011), and a trial ends early that is below the median of what those before it had at the same epoch.
"""

from __future__ import annotations

import hashlib
from typing import Any

from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.pruners import MedianPruner
from optuna.samplers import BaseSampler, TPESampler
from optuna.trial import FrozenTrial

__all__ = ["SeededTPE", "pruner"]


class SeededTPE(BaseSampler):
    """Optuna's TPE with a random state of its own for each trial: (seed, number) and the trials so far decide.

    One TPESampler would repeat its first draws in every worker and at every start of the same command.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def _of(self, trial: FrozenTrial, field: str = "") -> TPESampler:
        """A field drawn on its own has a state of its own too: else all would lie at the same place of their ranges."""
        digest = hashlib.sha256(f"{self.seed}:{trial.number}:{field}".encode()).digest()
        return TPESampler(seed=int.from_bytes(digest[:4], "big"))

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """As TPE's."""
        return self._of(trial).infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """As TPE's."""
        return self._of(trial).sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """As TPE's."""
        return self._of(trial, param_name).sample_independent(study, trial, param_name, param_distribution)


def pruner(epochs: int) -> MedianPruner:
    """Nothing is pruned among the first five trials, nor in the first fifth of a run's epochs."""
    return MedianPruner(n_startup_trials=5, n_warmup_steps=max(1, epochs // 5))
