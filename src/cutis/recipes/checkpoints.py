"""How checkpoints are kept: whole or not at all, and still known when the run folder has moved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import callbacks
from lightning.pytorch.plugins.io import TorchCheckpointIO

from cutis.files import atomic_path

__all__ = ["AtomicCheckpoints", "ModelCheckpoint"]


class AtomicCheckpoints(TorchCheckpointIO):
    """Checkpoints written beside the old one and moved over it when whole: a full disk costs the new one only."""

    def save_checkpoint(self, checkpoint: Any, path: Any, storage_options: Any = None) -> None:
        with atomic_path(Path(path)) as temporary:
            torch.save(checkpoint, temporary)


class ModelCheckpoint(callbacks.ModelCheckpoint):
    """Lightning's, which in a moved folder would forget its best score and put a worse checkpoint in the best's place.

    The name is Lightning's too: checkpoints store a callback's state by it.
    """

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        def here(path: str) -> str:
            return str(Path(str(self.dirpath)) / Path(path).name) if path else path

        state = {**state_dict, "dirpath": self.dirpath}
        for name in ("best_model_path", "kth_best_model_path", "last_model_path"):
            state[name] = here(state[name])
        state["best_k_models"] = {here(path): score for path, score in state["best_k_models"].items()}
        super().load_state_dict(state)
