"""The one place that knows Lightning: it runs any recipe, with checkpoints, resuming, early stopping, logs and devices.

Optimisation is manual: the recipe says which losses update which weights in which order, the engine accumulates, clips,
steps optimisers and schedules, and keeps the moving average of the weights, which is validated and kept as best.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import lightning
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, EMAWeightAveraging, TQDMProgressBar
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torch.utils.data import DataLoader

from cutis.data.batches import KeySampler
from cutis.errors import CutisError
from cutis.recipes.checkpoints import AtomicCheckpoints, ModelCheckpoint
from cutis.recipes.recipe import Diverged, Recipe, Shows, Summarises

__all__ = ["Diverged", "Engine", "EngineOptions", "fit"]


class EngineOptions(NamedTuple):
    """How to run, apart from what the recipe decides.

    `groups` names what each validation image belongs to. `monitor` is the validation value that chooses the best
    checkpoint and that patience waits for: the greatest, or of a loss (its name ends so) the least.
    """

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
    monitor: str
    after_epoch: Callable[[int, float], None] | None = None  # is told each epoch's monitored value; may raise to stop

    @property
    def better(self) -> str:
        """'min' or 'max'."""
        return "min" if self.monitor.endswith("loss") else "max"


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
            if not self.trainer.strategy.reduce_boolean_decision(bool(torch.isfinite(loss))):  # of every process
                raise Diverged(self._broken(name, terms))
            self.manual_backward(loss / self.options.accumulate)
            if update:
                optimisers[name].step()
                optimisers[name].zero_grad()
                if not isinstance(schedules[name], ReduceLROnPlateau):
                    schedules[name].step()
            logged = {f"train/{name}_loss": loss} | {f"train/{term}": value for term, value in terms.items()}
            self.log_dict(
                {key: value.detach() for key, value in logged.items()},
                prog_bar=len(terms) < 4, batch_size=len(batch.image), sync_dist=True,
            )  # fmt: skip

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Clip here, where 16-bit precision has taken its scale out of the gradients."""
        if self.options.clip_norm:
            self.clip_gradients(optimizer, self.options.clip_norm, "norm")

    def _broken(self, name: str, terms: dict[str, Tensor]) -> str:
        values = ", ".join(f"{term} {value.item():.4g}" for term, value in terms.items())
        return (
            f"the loss of '{name}' is not a number at epoch {self.current_epoch}, step {self.global_step} ({values}): "
            "training stopped, the last good checkpoint is kept; go on with --resume and a lower learning rate or "
            "precision 32-true"
        )

    def validation_step(self, batch: Any, step: int) -> None:
        if step == 0 and isinstance(self.recipe, Shows) and self.trainer.is_global_zero:
            self._show(self.recipe.pictures(batch))
        for name, value in {**self.recipe.validate(batch), "where": batch.where}.items():
            self.seen.setdefault(name, []).append(value.detach())

    def _show(self, pictures: dict[str, Tensor]) -> None:
        for logger in self.loggers:
            if isinstance(logger, TensorBoardLogger):
                for name, picture in pictures.items():
                    logger.experiment.add_image(f"validation/{name}", picture, self.current_epoch)

    def on_validation_epoch_end(self) -> None:
        gathered = {name: self.all_gather(torch.cat(parts)) for name, parts in self.seen.items()}
        seen = {name: values.reshape(-1, *self.seen[name][0].shape[1:]) for name, values in gathered.items()}
        self.seen = {}
        place = {
            where: i for i, where in enumerate(seen.pop("where").tolist())
        }  # each image once, in the cache's order
        order = [place[where] for where in sorted(place)]
        groups = [self.options.groups[where] for where in sorted(place)]
        images = {name: values[order] for name, values in seen.items()}
        if isinstance(self.recipe, Summarises):
            summary = self.recipe.summarise(images)
            self.log_dict({f"validation/{name}": value for name, value in summary.items()}, prog_bar=True)
        for name, values in images.items():
            if values.ndim > 1:  # no measure of its own, only for the summary
                continue
            means = {g: values[torch.tensor([h == g for h in groups])].float().mean() for g in sorted(set(groups))}
            whole = torch.stack(list(means.values())).mean()  # each data set counts the same
            self.log_dict({f"validation/{name}/{g}": mean for g, mean in means.items()}, sync_dist=True)
            self.log(f"validation/{name}", whole, prog_bar=True, sync_dist=True)
            if name == self.options.monitor:
                for schedule in _many(self.lr_schedulers()):
                    if isinstance(schedule, ReduceLROnPlateau):
                        schedule.step(whole.item())

    def on_validation_end(self) -> None:
        if self.options.after_epoch:
            value = self.trainer.callback_metrics[f"validation/{self.options.monitor}"]
            self.options.after_epoch(self.current_epoch, float(value))


def fit(
    recipe: Recipe, train: DataLoader, validation: DataLoader, options: EngineOptions, folder: Path, *, resume: bool
) -> None:
    """Train until the epochs or the patience are used up.

    `folder`/checkpoints holds best.ckpt and last.ckpt, `folder`/logs/start_N the CSV and TensorBoard logs of the Nth
    start. With several processes everything is written by the first.
    """
    checkpoint = folder / "checkpoints" / "last.ckpt"
    if resume and not checkpoint.exists():
        raise CutisError(f"{checkpoint} is not there: nothing to resume; leave --resume out")
    trainer = _trainer(options, folder)
    sampler = train.batch_sampler
    if isinstance(sampler, KeySampler):
        if sampler.batch_size % trainer.world_size:
            raise CutisError(
                f"batch_size {sampler.batch_size} is over all {trainer.world_size} processes together: "
                "give a multiple of their number"
            )
        sampler.epoch = _epoch_of(trainer)
    updates = math.ceil(len(train) / options.accumulate) * options.epochs
    engine = Engine(recipe, updates, options)
    trainer.fit(engine, train, validation, ckpt_path=checkpoint if resume else None, weights_only=True)


def _trainer(options: EngineOptions, folder: Path) -> lightning.Trainer:
    kept = folder / "checkpoints"
    start = f"start_{len(list((folder / 'logs').glob('start_*')))}"  # a resumed run logs beside what it goes on with
    monitor = f"validation/{options.monitor}"
    callbacks: list[Callback] = [
        ModelCheckpoint(kept, "best", monitor=monitor, mode=options.better, save_top_k=1, enable_version_counter=False),
        ModelCheckpoint(kept, "last", save_top_k=1, enable_version_counter=False, every_n_epochs=1),
        EarlyStopping(monitor, mode=options.better, patience=options.patience),
        TQDMProgressBar(20),
    ]
    if options.average:
        callbacks.append(EMAWeightAveraging(decay=options.average))
    return lightning.Trainer(
        max_epochs=options.epochs,
        callbacks=callbacks,
        logger=[CSVLogger(folder, "logs", version=start), TensorBoardLogger(folder, "logs", version=start)],
        plugins=[AtomicCheckpoints()],
        precision=options.precision,
        devices=options.devices,
        num_nodes=options.nodes,
        accelerator=options.accelerator,
        sync_batchnorm=torch.cuda.is_available() and options.accelerator in ("auto", "gpu", "cuda"),  # none on CPUs
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        log_every_n_steps=20,
        enable_model_summary=False,
        gradient_clip_val=None,
    )


def _epoch_of(trainer: lightning.Trainer) -> Callable[[], int]:
    """Not trainer.current_epoch: when workers ask for the first batches of a resumed run, it is one behind."""
    return lambda: trainer.fit_loop.epoch_progress.current.processed


def _many(one_or_more: Any) -> list[Any]:
    return list(one_or_more) if isinstance(one_or_more, (list, tuple)) else [one_or_more]
