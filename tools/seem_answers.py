"""Ask SEEM about decoded images and write down what it says, for `cutis teach seem`. Runs without cutis.

Run it in SEEM's own environment, from the root of its repository
(https://github.com/UX-Decoder/Segment-Everything-Everywhere-All-At-Once, its INSTALL.md, one GPU):

    python SOMEWHERE/seem_answers.py .cache/cutis/segmentation-256-... --output answers \\
        --conf configs/seem/focall_unicl_lang_demo.yaml --weights seem_focall_v1.pt --text "skin lesion"

The first argument is the folder of decoded images that `cutis teach seem` names when there are no answers yet. It holds
images.npy, (N, S, S, 3) uint8 RGB, and index.json with their key. What is written is documented in
src/cutis/teachers/seem.py: answers.json, logits.npy (N, 1, h, w) and embedding.npy (N, K, h, w), both float16. The mask
is the one whose caption is most like the text; the embedding is the pixel decoder's map of mask features. A call that
was cut off is completed by giving it again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

SIDE = 512  # what SEEM's demo shows it


def main() -> None:
    words = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    words.add_argument("images", type=Path, help="folder of decoded images, with images.npy and index.json")
    words.add_argument("--output", type=Path, required=True, help="folder for the answers")
    words.add_argument("--conf", default="configs/seem/focall_unicl_lang_demo.yaml", help="SEEM's configuration")
    words.add_argument("--weights", type=Path, required=True, help="SEEM's checkpoint, e.g. seem_focall_v1.pt")
    words.add_argument("--text", default="skin lesion", help="what SEEM is asked for")
    words.add_argument("--side", type=int, default=32, help="cells a side at which its maps are written")
    given = words.parse_args()
    digest = hashlib.sha256(given.weights.read_bytes()).hexdigest()
    facts = {
        "teacher": f"SEEM {given.weights.stem}, asked for {given.text!r}",
        "fingerprint": hashlib.sha256(f"{digest}:{given.text}:{given.side}:{SIDE}".encode()).hexdigest()[:40],
    }
    write_answers(given.images, given.output, facts, given.side, load_seem(given.conf, given.weights, given.text))


def write_answers(
    images: Path, output: Path, facts: dict[str, str], side: int, ask: Callable[[np.ndarray], tuple[Any, Any]]
) -> None:
    """Ask about every image, or about those that a call which was cut off has left.

    `ask`: (S, S, 3) uint8 -> logits (1, h, w) and embedding (K, h', w'), both as torch tensors.
    """
    index = json.loads((images / "index.json").read_text(encoding="utf-8"))
    squares = np.load(images / "images.npy", mmap_mode="r")
    facts = {"format": 1, **facts, "images": index["key"]}
    output.mkdir(parents=True, exist_ok=True)
    unfinished = output / "unfinished.json"  # becomes answers.json when all is there
    if (output / "answers.json").exists():
        return
    begun = json.loads(unfinished.read_text(encoding="utf-8")) if unfinished.exists() else {"facts": facts, "done": 0}
    if begun["facts"] != facts:
        raise SystemExit(f"{output} was begun with other weights, words or images: give another --output")
    arrays = None
    for position in range(begun["done"], len(squares)):
        maps = [resized(part, side) for part in ask(np.asarray(squares[position]))]
        arrays = arrays or [opened(output / n, len(squares), m) for n, m in zip(("logits", "embedding"), maps)]  # noqa: B905
        for array, part in zip(arrays, maps):  # noqa: B905  (SEEM's environment has an old Python)
            array[position] = part
        if position % 20 == 19 or position == len(squares) - 1:
            for array in arrays:
                array.flush()
            unfinished.write_text(json.dumps({"facts": facts, "done": position + 1}), encoding="utf-8")
            print(f"{position + 1} of {len(squares)}", flush=True)
    (output / "answers.json").write_text(json.dumps(facts, indent=1), encoding="utf-8")
    unfinished.unlink()


def resized(part: Any, side: int) -> np.ndarray:
    """(K, h, w) -> (K, side, side) float16."""
    from torch.nn import functional

    part = functional.interpolate(part[None].float(), (side, side), mode="bilinear", antialias=True)[0]
    return part.clamp(-60000, 60000).half().cpu().numpy()


def opened(stem: Path, count: int, like: np.ndarray) -> np.ndarray:
    path = stem.with_suffix(".npy")
    if path.exists():
        return np.load(path, mmap_mode="r+")
    return np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=(count, *like.shape))


def load_seem(conf: str, weights: Path, text: str) -> Callable[[np.ndarray], tuple[Any, Any]]:
    """SEEM as its own demo builds it and asks it for a text (demo/seem/app.py, demo/seem/tasks/interactive.py)."""
    import torch
    from modeling import build_model
    from modeling.BaseModel import BaseModel
    from modeling.language.loss import vl_similarity
    from utils.arguments import load_opt_from_config_files
    from utils.constants import COCO_PANOPTIC_CLASSES
    from utils.distributed import init_distributed

    opt = init_distributed(load_opt_from_config_files([conf]))
    model = BaseModel(opt, build_model(opt)).from_pretrained(str(weights)).eval().cuda().model
    head = model.sem_seg_head
    with torch.no_grad():
        head.predictor.lang_encoder.get_text_embeddings([*COCO_PANOPTIC_CLASSES, "background"], is_eval=True)
    for task in ("spatial", "visual", "audio"):
        model.task_switch[task] = False
    model.task_switch["grounding"] = True
    seen: list[Any] = []
    features = head.pixel_decoder.forward_features

    def remembered(*inputs: Any, **named: Any) -> Any:
        found = features(*inputs, **named)
        seen[:] = [found[0]]  # mask features, (1, K, h, w)
        return found

    head.pixel_decoder.forward_features = remembered

    @torch.no_grad()
    def ask(square: np.ndarray) -> tuple[Any, Any]:
        image = torch.from_numpy(square.copy()).permute(2, 0, 1).float()[None].cuda()
        image = torch.nn.functional.interpolate(image, (SIDE, SIDE), mode="bicubic", antialias=True)[0].clamp(0, 255)
        with torch.autocast("cuda", torch.float16):
            results, _, extra = model.evaluate_demo([{"image": image, "height": SIDE, "width": SIDE, "text": [text]}])
        said, asked = results["pred_captions"][0], extra["grounding_class"]
        said, asked = (e / (e.norm(dim=-1, keepdim=True) + 1e-7) for e in (said, asked))
        match = vl_similarity(said, asked, temperature=head.predictor.lang_encoder.logit_scale).max(0)[1]
        return results["pred_masks"][0][match][:1], seen[0][0]

    return ask


if __name__ == "__main__":
    main()
