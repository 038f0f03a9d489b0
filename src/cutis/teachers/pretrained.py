"""Weights of published teachers, in a folder in the format of transformers; what is missing says where to get it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from cutis.errors import CutisError

__all__ = ["PretrainedFolder", "open_pretrained"]


@dataclass(frozen=True)
class PretrainedFolder:
    """A folder with config.json and weights of one kind of network."""

    path: Path
    what: str

    @property
    def name(self) -> str:
        return self.path.resolve().name

    def load(self, kind: Any) -> Any:
        """The network, on the processor; `kind` is the class in transformers. Nothing is fetched."""
        try:
            model, report = kind.from_pretrained(self.path, local_files_only=True, output_loading_info=True)
        except (OSError, RuntimeError, ValueError, KeyError, SafetensorError) as error:
            reason = " ".join(str(error).split())[:200]
            raise CutisError(f"{self.path} does not hold {self.what}'s weights ({reason}): fetch them again") from error
        missing = sorted(report["missing_keys"]) + sorted(str(key) for key in report["mismatched_keys"])
        if missing:  # they would be random, without a word
            raise CutisError(
                f"{self.path} lacks {len(missing)} of {self.what}'s tensors ({missing[0]}): fetch it again"
            )
        return model


def open_pretrained(weights: Path | None, what: str, sources: str, model_type: str) -> PretrainedFolder:
    """The folder `weights`, or the one that the file `weights` is in; refused where it is not what it should be."""
    where = (
        f"{sources} on huggingface.co, e.g. 'hf download {sources.split()[0]} --local-dir FOLDER', "
        f"then --weights FOLDER (or its model.safetensors)"
    )
    if weights is None:
        raise CutisError(f"{what} has no weights here and none are fetched by themselves: get {where}")
    folder = weights.parent if weights.is_file() else weights
    if not (folder / "config.json").is_file():
        raise CutisError(f"{weights} holds no {what} in the format of transformers (no config.json): get {where}")
    try:
        found = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("model_type")
    except (ValueError, AttributeError) as error:
        raise CutisError(f"{folder / 'config.json'} is not JSON with fields: get {where}") from error
    if found != model_type:
        raise CutisError(f"{folder} holds a {found!r}, not {what} ({model_type!r}): get {where}")
    if not any(folder.glob("*.safetensors")) and not any(folder.glob("pytorch_model*.bin")):
        raise CutisError(f"{folder} has a config.json but no weights (model.safetensors): get {where}")
    return PretrainedFolder(folder, what)
