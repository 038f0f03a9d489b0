"""`cutis evaluate-prompts`: a promptable model on data sets it never saw, one table row a way of asking."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cutis.data.splits import OURS
from cutis.evaluation.prompted import Asking, asked
from cutis.evaluation.selection import SplitRule
from cutis.evaluation.verb import OUR_RULE, Subject, run
from cutis.recipes.folder import read_folder
from cutis.recipes.promptables import load_promptable
from cutis.recipes.prompting_config import PromptingConfig
from cutis.recipes.teaching import device_of
from cutis.teachers.promptable import PromptedFiles

__all__ = ["evaluate_prompts"]

STAND_IN_RULE = SplitRule(("ham10000",), **OURS)
"""What the bundled promptable was trained on (configs/promptable/ham10000.yaml)."""


def evaluate_prompts(
    model: str, data: Path, *, files: Any = None, ways: Sequence[str], datasets: Sequence[str] | None, part: str,
    output: Path | None, limit: int | None, seed: int, accelerator: str, command: str,
) -> int:  # fmt: skip
    """Ask about every image of `part` in every way; print the means, write rows and report if `output` is given.

    Images whose lesion the run was trained on are in no part but its own. `files`: the exported pair that `model`
    names, opened.
    """
    device = device_of(accelerator)
    promptable = PromptedFiles(files) if files else load_promptable(model, device)
    rule = STAND_IN_RULE if files else OUR_RULE
    if (Path(model) / "config.yaml").is_file():
        config, _ = read_folder(Path(model), PromptingConfig)
        rule = SplitRule(tuple(config.datasets), config.split.fractions, config.split.seed)
    subject = Subject(Asking(promptable, seed, device), promptable.name, rule, 1)
    return run(
        subject, data, datasets=datasets, part=part, output=output, against=None, limit=limit, command=command,
        spread=lambda samples: asked(samples, ways),
    )  # fmt: skip
