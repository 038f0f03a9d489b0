"""Peak memory of position attention, fused against textbook: python benchmarks/position_attention.py

For maps of 32 channels and 32 to 128 pixels a side (what the generator has at inputs of 64 to 256), forward and
backward of a batch of one, each in a process of its own that tells its peak resident set; what importing torch takes is
measured and left out. Then a whole training step of generator and discriminator at --step pixels, batch 8 (target:
8 GB). Writes results/position_attention.json. Linux or macOS.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from cutis.benchmark.machine import describe
from cutis.files import atomic_write

SIDES = (32, 48, 64, 96, 128)
CHANNELS = 32
TARGET_GB = 8.0

ATTENTION = """
import sys, torch
from cutis.benchmark.memory import peak_mb
from cutis.layers.dual_attention import position_attention, textbook_position_attention
form, side = sys.argv[1], int(sys.argv[2])
maps = torch.randn(3, 1, {channels}, side, side, generator=torch.Generator().manual_seed(0), requires_grad=True)
attend = {{"fused": position_attention, "textbook": textbook_position_attention}}.get(form)
if attend:
    attend(*maps.unbind()).square().sum().backward()
print(peak_mb())
"""
STEP = """
import sys, torch
from pathlib import Path
from cutis.benchmark.memory import peak_mb
from cutis.data.batches import Batch
from cutis.recipes.adversarial import Adversarial
from cutis.recipes.adversarial_config import AdversarialConfig
from cutis.recipes.config import load_config
from cutis.recipes.folder import build
side = int(sys.argv[1])
config = load_config(Path(sys.argv[2]), {"preprocessing.size": sys.argv[1]}, AdversarialConfig)
recipe = Adversarial(build(config.network, 0), build(config.discriminator, 1), config)
optimisers = recipe.optimisers(1)
mask = torch.ones(config.batch_size, 1, side, side)
batch = Batch(torch.rand(config.batch_size, 3, side, side), mask, mask, torch.arange(config.batch_size))
for name, loss, terms in recipe.losses(batch):
    loss.backward()
    optimisers[name][0].step()
    optimisers[name][0].zero_grad()
print(peak_mb())
"""


def told(program: str, *words: object) -> float:
    """The last line that `program` prints, a number, in a new process."""
    done = subprocess.run([sys.executable, "-c", program, *map(str, words)], capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--step", type=int, default=256, help="side of the training step's pictures; 0: none")
    parser.add_argument("--config", type=Path, default=Path("configs/slsnet/paper.yaml"))
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results"))
    asked = parser.parse_args()
    program = ATTENTION.format(channels=CHANNELS)
    empty = told(program, "none", 1)
    rows = []
    for side in SIDES:
        fused, textbook = (told(program, form, side) - empty for form in ("fused", "textbook"))
        rows.append({"side": side, "positions": side**2, "fused MB": fused, "textbook MB": textbook})
        print(f"{side:4} x {side:<4} {side**2:6} positions: fused {fused:8.1f} MB, textbook {textbook:8.1f} MB")
    found = {"benchmark": "position_attention", "channels": CHANNELS, "without attention MB": empty, "rows": rows}
    if asked.step:
        peak = told(STEP, asked.step, asked.config)
        found["training step"] = {
            "side": asked.step,
            "batch": 8,
            "peak MB": peak,
            "target MB": 1000 * TARGET_GB,
            "met": peak <= 1000 * TARGET_GB,
        }
        print(f"a training step at {asked.step} pixels, batch 8: {peak:.0f} MB of at most {1000 * TARGET_GB:.0f}")
    path = asked.output / "position_attention.json"
    atomic_write(path, json.dumps(found | {"machine": describe()}, indent=1) + "\n")
    print(f"written: {path}")


if __name__ == "__main__":
    main()
