"""Which promptable model is meant: a run of `cutis train prompting`, or a folder with weights of SAM or MedSAM."""

from __future__ import annotations

from pathlib import Path

from cutis.errors import CutisError
from cutis.models.promptable import PromptableNet
from cutis.recipes.folder import best_checkpoint, digest
from cutis.recipes.run import load_run
from cutis.teachers.promptable import Promptable, PromptedNetwork
from cutis.teachers.sam import open_sam

__all__ = ["load_promptable"]


def load_promptable(choice: str | Path, device: str) -> Promptable:
    """Open it, frozen, on `device`; nothing is downloaded.

    The name of a run says that it is cutis' stand-in, never SAM, and which weights.

    >>> load_promptable("no-such-folder", "cpu")
    Traceback (most recent call last):
    cutis.errors.CutisError: no-such-folder is no promptable model: give a run of 'cutis train prompting', or a folder \
with the weights of SAM or MedSAM in the format of transformers
    """
    folder = Path(choice)
    if (folder / "config.yaml").is_file():
        run = load_run(folder)
        if not isinstance(run.network, PromptableNet):
            raise CutisError(
                f"{folder} holds a {run.config.network.name}, which takes no prompts: give a run of 'cutis train "
                "prompting'"
            )
        name = f"{run.name} (cutis' promptable stand-in, {digest(best_checkpoint(folder))[:12]})"
        return PromptedNetwork(name, run.network.to(device), run.preprocessing)
    if (folder / "config.json").is_file() or (folder.is_file() and (folder.parent / "config.json").is_file()):
        return open_sam(folder, device)
    raise CutisError(
        f"{choice} is no promptable model: give a run of 'cutis train prompting', or a folder with the weights of SAM "
        "or MedSAM in the format of transformers"
    )
