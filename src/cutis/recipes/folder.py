"""What the run folders of all methods share: who writes, what they were made with, the best weights, the same data."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import platform
import shutil
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
import yaml
from pydantic import BaseModel
from torch import nn

import cutis.models  # noqa: F401  (registers the networks)
from cutis.data.samples import Sample
from cutis.errors import CutisError
from cutis.files import atomic_write
from cutis.pruning.shape import cut_to
from cutis.recipes.config import NetworkSettings
from cutis.registry import models

__all__ = [
    "begin",
    "best_checkpoint",
    "build",
    "decoding",
    "device_count",
    "digest",
    "is_first_process",
    "read_folder",
    "recipe_of",
    "restore",
    "same_data",
    "silent",
    "stage",
    "take_over",
    "task_of",
    "thin",
    "versions",
]

Config = TypeVar("Config", bound=BaseModel)
_DONE = "done.json"


def build(settings: NetworkSettings, seed: int) -> nn.Module:
    """The network with the weights it starts from, as the seed gives them; the global random state stays as it is."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        try:
            network = models.build(settings.name, **settings.options)
            cut_to(network, settings.channels)
        except (TypeError, ValueError) as error:
            raise CutisError(f"network {settings.name!r} with {settings.options}: {error}") from error
    return network.to(memory_format=torch.channels_last)


def read_folder(folder: Path, model: type[Config]) -> tuple[Config, dict[str, Any]]:
    """The configuration and the facts (run.json) of the run in `folder`."""
    try:
        config = model.model_validate(yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8")))
        return config, json.loads((folder / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())[:200]
        raise CutisError(f"{folder} is not a run folder ({reason}): give a folder that 'cutis train' made") from error


def task_of(folder: Path) -> str:
    """What the run in `folder` was trained for: 'segmentation', 'symmetry' or 'lesion_class'."""
    return _field(folder, "task", "segmentation")


def recipe_of(folder: Path) -> str:
    """How the segmenter in `folder` was trained: 'supervised' where its configuration does not say."""
    return _field(folder, "recipe", "supervised")


def _field(folder: Path, name: str, without: str) -> str:
    try:
        values = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())[:200]
        raise CutisError(f"{folder} is not a run folder ({reason}): give a folder that 'cutis train' made") from error
    return values.get(name, without) if isinstance(values, dict) else without


def best_checkpoint(folder: Path) -> Path:
    """Where the best weights of the run in `folder` are."""
    checkpoint = folder / "checkpoints" / "best.ckpt"
    if not checkpoint.exists():
        raise CutisError(f"{checkpoint} is not there: the run has not finished its first epoch yet")
    return checkpoint


def restore(network: nn.Module, folder: Path) -> nn.Module:
    """`network` with the best (averaged) weights of the run in `folder`, on the CPU, in evaluation mode."""
    checkpoint = best_checkpoint(folder)
    try:
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)["state_dict"]
        own = "networks.network."  # beside it: what only training needs (a projection, a critic)
        network.load_state_dict({k.removeprefix(own): v for k, v in state.items() if k.startswith(own)})
    except (RuntimeError, KeyError, EOFError, pickle.UnpicklingError) as error:
        raise CutisError(
            f"{checkpoint} does not hold the network that config.yaml beside it describes "
            f"({' '.join(str(error).split())[:200]}): restore the file, or train anew"
        ) from error
    return network.eval()


def take_over(network: nn.Module, first: nn.Module, start: Path) -> str:
    """Give `network` the weights of `first`, the run in `start`; the SHA-256 of the checkpoint they came from."""
    try:
        network.load_state_dict(first.state_dict())
    except RuntimeError as error:
        raise CutisError(f"{start} holds another network than {type(network).__name__} of this run: {error}") from error
    return digest(best_checkpoint(start))


def digest(path: Path) -> str:
    """SHA-256 of the file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def begin(folder: Path, config: BaseModel, facts: dict[str, Any]) -> None:
    """Write config.yaml and run.json."""
    atomic_write(folder / "config.yaml", yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False))
    atomic_write(folder / "run.json", json.dumps(facts, indent=1))


def same_data(folder: Path, facts: dict[str, Any]) -> dict[str, Any]:
    """The facts of the run as it was begun; refused if its data were others."""
    try:
        before = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CutisError(f"{folder} holds no run: nothing to resume; leave --resume out") from error
    if before["data"] != facts["data"]:
        raise CutisError(f"{folder} was trained on other images than these: resume with the same data, split and size")
    return before


def stage(
    train: Callable[..., Any],
    config: Any,
    data: Path,
    folder: Path,
    say: Callable[[str], None],
    arguments: dict[str, Any],
) -> None:
    """One run of several: train into `folder` from where it stands: not at all, from its last epoch, or from the start.

    `train` is called as (config, data, folder, resume=..., **arguments).
    """
    if (folder / _DONE).exists():
        if json.loads((folder / _DONE).read_text(encoding="utf-8"))["sha256"] != digest(best_checkpoint(folder)):
            raise CutisError(
                f"{folder} is finished, but its checkpoint is another than then: restore it, or delete the folder to "
                "train this stage anew"
            )
        say(f"{folder.name}: trained already")
        return
    begun = (folder / "checkpoints" / "last.ckpt").exists()
    if not begun and folder.exists():
        shutil.rmtree(folder)  # cut off before its first epoch was over: nothing to go on with
    say(f"{folder.name}: {'goes on' if begun else 'begins'}")
    train(config, data, folder, resume=begun, **arguments)
    atomic_write(folder / _DONE, json.dumps({"sha256": digest(best_checkpoint(folder))}))


def thin(samples: Sequence[Sample], most: int | None) -> tuple[Sample, ...]:
    """At most `most` samples, the same share of every data set, evenly spread over each set's sorted ids."""
    if most is None or len(samples) <= most:
        return tuple(samples)
    kept = np.linspace(0, len(samples) - 1, most).round().astype(int)
    by_set = sorted(samples, key=lambda sample: sample.dataset)
    return tuple(by_set[index] for index in kept)


def decoding(what: str, say: Callable[[str], None], doing: str = "decoding") -> Callable[[int, int], None]:
    """Progress of building a cache of `what`, said now and then."""

    def progress(done: int, total: int) -> None:
        if done == total or done % 1000 == 0:
            say(f"{doing} {what}: {done} of {total}")

    return progress


def is_first_process() -> bool:
    """Of all processes on all machines, as Lightning's, torchrun's and SLURM's launchers number them."""
    names = ("RANK", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "SLURM_PROCID")
    return all(os.environ.get(name, "0") == "0" for name in names)


def device_count(text: str) -> int | str:
    """--devices as it was typed: a number, or 'auto'."""
    return int(text) if text.lstrip("-").isdigit() else text


def silent(text: str) -> None:
    """What processes beside the first say."""


def versions() -> dict[str, str]:
    """Python's and those of the packages that decide numbers."""
    packages = ("cutis", "torch", "torchvision", "lightning", "numpy", "opencv-python-headless", "pillow")
    return {"python": platform.python_version(), **{name: metadata.version(name) for name in packages}}
