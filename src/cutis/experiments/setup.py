"""What is different from the paper in a grid, in sentences that stand above its tables."""

from __future__ import annotations

from pathlib import Path

from cutis.errors import CutisError
from cutis.experiments.grid_config import GridConfig
from cutis.experiments.plan import Stage
from cutis.recipes.classification_config import ClassificationConfig, Folds
from cutis.recipes.folder import read_folder

__all__ = ["PAPER", "setup_lines"]

PAPER: dict[str, dict[str, object]] = {
    "symmetry": {"backbone": "squeezenet1_1", "size": 224, "epochs": 100, "folds": 3, "patience": 10},
    "lesion": {"backbone": "efficientnet_b4", "size": 256, "epochs": 100, "folds": 4, "patience": 10},
}
"""What SE-LCN used (Sec. 4.1, 5.2; input sizes from the authors' code)."""
STAGE_OF: dict[str, Stage] = {
    "5": "segmentation", "6a": "symmetry", "6b": "symmetry", "7": "symmetry", "8a": "lesion", "8b": "lesion",
    "9": "lesion", "10": "lesion", "13": "isic2016", "14": "isic2016", "15": "isic2016",
}  # fmt: skip
"""Table -> the stage it is of."""


def setup_lines(config: GridConfig, results: Path, table: str) -> list[str]:
    """How the runs of `table` were made, the paper's value in brackets where it is another."""
    stage = STAGE_OF[table]
    if stage == "segmentation":
        assert config.segmentation is not None
        own = config.segmentation
        return [
            f"Both networks with the encoder {own.network.options.get('encoder')}, at {own.preprocessing.size} px, "
            f"at most {own.epochs} epochs of {own.epoch_images or 'all'} images; from random weights.",
            "Test images at their own resolution; divided by lesion.",
        ]
    chain = ["symmetry"] if stage == "symmetry" else ["lesion", "symmetry"]
    lines = [_network(name, config.symmetry if name == "symmetry" else config.lesion) for name in chain]
    lines += _started(results, stage) + [_divided(config)]
    if table in ("7", "9", "15"):
        part, most = config.maps.part, config.maps.images
        which = "all of HAM10000" if part == "all" else "HAM10000's test part (paper: all of HAM10000)"
        lines.append(
            f"Maps of {f'{most} images of ' if most else ''}{which}, measured in the network's frame; the Gaussian's "
            f"standard deviation is {config.maps.gaussian:g} of each side."
        )
    if table in ("6a", "8a", "13"):
        lines.append(
            "Validation images keep their classes' shares (paper, table 8a: balanced before the folds were made)."
        )
    if table == "10":
        lines.append(
            "ISIC 2019 without SCC and without all lesions of HAM10000 and SymDerm v2 (paper: without SCC only); masks "
            "by the bundled segmenter."
        )
    if stage == "isic2016":
        lines.append("All labelled images of ISIC 2016 (paper: its 900 training images).")
    return lines


def _network(name: str, config: ClassificationConfig) -> str:
    paper = PAPER[name]
    options, split = config.network.options, config.split
    folds = split.count if isinstance(split, Folds) else 0

    def value(text: str, found: object, expected: object) -> str:
        return text if found == expected else f"{text} (paper: {expected})"

    parts = [
        value(str(options.get("backbone")), options.get("backbone"), paper["backbone"]),
        value(f"{config.preprocessing.size} px", config.preprocessing.size, paper["size"]),
        value(f"{folds} folds", folds, paper["folds"]),
        value(f"at most {config.epochs} epochs", config.epochs, paper["epochs"]),
        value(f"patience {config.patience}", config.patience, paper["patience"]),
    ]
    if config.weights is None:
        parts.append("never pretrained (paper: on ImageNet)")
    if config.epoch_images:
        parts.append(f"{config.epoch_images} images an epoch (paper: all)")
    if name == "lesion":
        balanced = f"at most {config.balance} images a class" if config.balance else "classes not balanced"
        parts.append(value(balanced, config.balance, 2000))
        if not config.preprocessing.hair_removal:
            parts.append("hair left in (paper: removed)")
    return f"The {name} network: {', '.join(parts)}."


def _divided(config: GridConfig) -> str:
    split = config.lesion.split
    assert isinstance(split, Folds)  # checked by the grid's configuration
    how = "by lesion (paper: by image)" if split.grouping == "lesion" else "by image, as in the paper"
    seeds = ", ".join(map(str, config.seeds))
    return f"Divided {how}; {split.test:.0%} test; masks are the data sets' own (paper: DeepLabV3+'s); seeds {seeds}."


def _started(results: Path, stage: Stage) -> list[str]:
    """What the pretrained networks started from, as their own run folders say."""
    lines = []
    for name in ("symmetry",) if stage == "symmetry" else ("symmetry", stage):
        said = set()
        for facts in (results / name).glob("seed-*/model-*/fold-*/run.json"):
            try:
                config, known = read_folder(facts.parent, ClassificationConfig)
            except CutisError:
                continue  # a run that was cut off while it was begun: it has no values in the table either
            if config.weights is not None or name != "symmetry":
                said.add(known["weights"])
        if said:
            lines.append(f"The {name} networks of the pretrained models started {' or '.join(sorted(said))}.")
    return lines
