"""What the engine asks of a recipe. A recipe is plain torch: it never imports lightning."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from cutis.errors import CutisError

__all__ = ["Diverged", "Recipe", "Shows", "Summarises"]


class Diverged(CutisError):  # noqa: N818
    """A loss is not a number, or an adversary collapsed: a run stops with it, a search counts it as a bad choice."""


class Recipe(Protocol):
    """A paper's algorithm box: networks, optimisers, and the losses of a step in the order the paper updates them."""

    networks: nn.ModuleDict

    def optimisers(self, steps: int) -> dict[str, tuple[Optimizer, LRScheduler]]:
        """One optimiser and its schedule (stepped once an update; `steps` updates in all) a name. A schedule that falls
        on a plateau is stepped once a validation instead, with the value that chooses the best weights."""
        ...

    def losses(self, batch: Any) -> Iterator[tuple[str, Tensor, dict[str, Tensor]]]:
        """Yield (optimiser name, scalar loss, named terms to log), each computed after the update before it."""
        ...

    def validate(self, batch: Any) -> dict[str, Tensor]:
        """Name -> (B,) values, one an image, whose means the engine logs; or (B, ...), which `summarise` takes."""
        ...


@runtime_checkable
class Shows(Protocol):
    """A recipe that wants to be looked at."""

    def pictures(self, batch: Any) -> dict[str, Tensor]:
        """Name -> (3, H, W) values in [0, 1], of the first validation batch of every epoch; they go into the log."""
        ...


@runtime_checkable
class Summarises(Protocol):
    """A recipe with measures that no mean of values of images gives, as balanced accuracy."""

    def summarise(self, images: dict[str, Tensor]) -> dict[str, Tensor]:
        """What `validate` gave, of all validation images, each once -> name -> scalar."""
        ...
