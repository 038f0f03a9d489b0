"""What the command line answers where a part is not installed: one line, exit code 2."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SMOKE = Path(__file__).parents[1] / "configs" / "sparsesegnet" / "smoke.yaml"
HIDDEN = """
import sys

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {hidden!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Hidden())
sys.argv[1:] = {words!r}
from cutis.cli import main
main()
"""


def call(hidden: tuple[str, ...], *words: str) -> subprocess.CompletedProcess:
    code = HIDDEN.format(hidden=hidden, words=list(words))
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "words",
    [
        ("train", "supervised", "--config", str(SMOKE), "--data", "."),
        ("export", ".", "--output", "exported"),
        ("tune", "--config", str(SMOKE), "--space", "space.yaml", "--data", ".", "--output", "tuned"),
        ("evaluate", ".", "--data", "."),
    ],
    ids=lambda words: words[0],
)
def test_without_torch_it_says_what_to_install(words):
    done = call(("torch", "lightning"), *words)
    assert done.stderr == f"cutis {words[0]} needs torch: pip install 'cutis[train]'\n"
    assert (done.returncode, done.stdout) == (2, "")


def test_the_fields_of_a_run_need_no_torch():
    done = call(("torch", "lightning"), "train", "fields")
    assert done.returncode == 0
    assert "--loss.boundary" in done.stdout


def test_another_missing_module_is_not_blamed_on_the_training_size():
    done = call(("yaml",), "train", "fields")
    assert done.returncode == 1
    assert "ModuleNotFoundError: No module named 'yaml'" in done.stderr
