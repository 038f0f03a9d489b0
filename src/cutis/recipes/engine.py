"""The one place that knows Lightning: it runs any recipe, with checkpoints, resuming, early stopping, logs and devices.

Optimisation is manual: the recipe says which losses update which weights in which order, the engine accumulates, clips,
steps optimisers and schedules, and keeps the moving average of the weights, which is what is validated and kept as best.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, NamedTuple

import lightning
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, EMAWeightAveraging, ModelCheckpoint, TQDMProgressBar
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.plugins.io import TorchCheckpointIO
from torch import Tensor
from torch.utils.data import DataLoader

from cutis.data.batches import KeySampler
from cutis.errors import CutisError
from cutis.files import atomic_path
from cutis.recipes.recipe import Recipe

__all__ = ["Engine", "EngineOptions", "fit"]


class EngineOptions(NamedTuple):
    """How to run, apart from what the recipe decides. `groups` names what each validation image belongs to."""

    epochs: int
    accumulate: int
    clip_norm: float | None
    average: float | None
    precision: str
    patience: int
    groups: tuple[str, ...]
    devices: int | str
    nodes: int
    accelerator: str


class Engine(lightning.LightningModule):
    """Any recipe as a LightningModule."""

    def __init__(self, recipe: Recipe, steps: int, options: EngineOptions) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.networks = recipe.networks
        self.recipe, self.steps, self.options = recipe, steps, options
        self.seen: dict[str, list[Tensor]] = {}

    def configure_optimizers(self) -> Any:
        pairs = self.recipe.optimisers(self.steps)
        self.names = list(pairs)
        return [pair[0] for pair in pairs.values()], [pair[1] for pair in pairs.values()]

    def training_step(self, batch: Any, step: int) -> None:
        optimisers = dict(zip(self.names, _many(self.optimizers()), strict=True))
        schedules = dict(zip(self.names, _many(self.lr_schedulers()), strict=True))
        update = (step + 1) % self.options.accumulate == 0 or self.trainer.is_last_batch
        for name, loss, terms in self.recipe.losses(batch):
            if not torch.isfinite(loss):
                raise CutisError(self._broken(name, terms))
            self.manual_backward(loss / self.options.accumulate)
            if update:
                if self.options.clip_norm:
                    self.clip_gradients(optimisers[name], self.options.clip_norm, "norm")
                optimisers[name].step()
                optimisers[name].zero_grad()
                schedules[name].step()
            logged = {f"train/{term}": value.detach() for term, value in terms.items()}
            self.log_dict(
                {f"train/{name}_loss": loss.detach(), **logged}, prog_bar=len(terms) < 4, batch_size=len(batch.image)
            )

    def _broken(self, name: str, terms: dict[str, Tensor]) -> str:
        values = ", ".join(f"{term} {value.item():.4g}" for term, value in terms.items())
        return (
            f"the loss of '{name}' is not a number at epoch {self.current_epoch}, step {self.global_step} ({values}): training "
            "stopped, the last good checkpoint is kept; go on with --resume and a lower learning rate or precision 32-true"
        )

    def validation_step(self, batch: Any, step: int) -> None:
        values = self.recipe.validate(batch)
        for name, value in {**values, "index": batch.index}.items():
            self.seen.setdefault(name, []).append(value.detach())

    def on_validation_epoch_end(self) -> None:
        seen = {name: self.all_gather(torch.cat(parts)).flatten() for name, parts in self.seen.items()}
        self.seen = {}
        groups = [self.options.groups[index] for index in seen.pop("index").tolist()]
        for name, values in seen.items():
            means = {g: values[torch.tensor([h == g for h in groups])].float().mean() for g in sorted(set(groups))}
            self.log_dict({f"validation/{name}/{g}": mean for g, mean in means.items()})
            self.log(
                f"validation/{name}", torch.stack(list(means.values())).mean(), prog_bar=True
            )  # each data set counts the same


class AtomicCheckpoints(TorchCheckpointIO):
    """Checkpoints written beside the old one and moved over it when whole: a full disk costs the new one only."""

    def save_checkpoint(self, checkpoint: Any, path: Any, storage_options: Any = None) -> None:
        with atomic_path(Path(path)) as temporary:
            torch.save(checkpoint, temporary)


def fit(
    recipe: Recipe, train: DataLoader, validation: DataLoader, options: EngineOptions, folder: Path, *, resume: bool
) -> None:
    """Train until the epochs or the patience are used up; `folder`/checkpoints holds best.ckpt and last.ckpt, `folder`/logs/start_N CSV and TensorBoard."""
    kept = folder / "checkpoints"
    start = f"start_{len(list((folder / 'logs').glob('start_*')))}"  # a resumed run logs beside what it goes on with
    best = ModelCheckpoint(
        kept, "best", monitor="validation/dice", mode="max", save_top_k=1, enable_version_counter=False
    )
    last = ModelCheckpoint(kept, "last", save_top_k=1, enable_version_counter=False, every_n_epochs=1)
    callbacks: list[Callback] = [
        best,
        last,
        EarlyStopping("validation/dice", mode="max", patience=options.patience),
        TQDMProgressBar(20),
    ]
    if options.average:
        callbacks.append(EMAWeightAveraging(decay=options.average))
    trainer = lightning.Trainer(
        max_epochs=options.epochs,
        callbacks=callbacks,
        logger=[CSVLogger(folder, "logs", version=start), TensorBoardLogger(folder, "logs", version=start)],
        plugins=[AtomicCheckpoints()],
        precision=options.precision,  # type: ignore[arg-type]
        devices=options.devices,
        num_nodes=options.nodes,
        accelerator=options.accelerator,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        log_every_n_steps=20,
        enable_model_summary=False,
        gradient_clip_val=None,
    )
    checkpoint = kept / "last.ckpt"
    if resume and not checkpoint.exists():
        raise CutisError(f"{checkpoint} is not there: nothing to resume; leave --resume out")
    updates = math.ceil(len(train) / options.accumulate) * options.epochs
    engine = Engine(recipe, updates, options)
    if isinstance(train.batch_sampler, KeySampler):
        # Not trainer.current_epoch: when workers ask for the first batches of a resumed run, it is one behind.
        train.batch_sampler.epoch = lambda: trainer.fit_loop.epoch_progress.current.processed
    trainer.fit(engine, train, validation, ckpt_path=checkpoint if resume else None, weights_only=True)


def _many(one_or_more: Any) -> list[Any]:
    return list(one_or_more) if isinstance(one_or_more, (list, tuple)) else [one_or_more]
