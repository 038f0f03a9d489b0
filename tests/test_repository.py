"""What holds for the repository as a whole: what is in it, what it says about itself, what it imports."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import cutis

ROOT = Path(__file__).parents[1]
HEAVY = [
    "torch",
    "torchvision",
    "lightning",
    "timm",
    "segmentation_models_pytorch",
    "pandas",
    "scipy",
    "sklearn",
    "skimage",
    "onnx",
    "optuna",
    "matplotlib",
    "torch_pruning",
    "transformers",
]
PICTURES = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif"}
FILE_LIMIT = 4e6
WEIGHTS_LIMIT = 25_000_000  # all bundled networks together


def files() -> list[Path]:
    """Everything that is, or is about to be, in the repository."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout.decode().split("\0")
    return [ROOT / name for name in listed if name and (ROOT / name).is_file()]


def modules() -> list[str]:
    return sorted(found.name for found in pkgutil.walk_packages(cutis.__path__, "cutis."))


def run_python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_no_file_names_a_folder_of_somebodys_machine():
    folders = "|".join(["work", "tmp", "home", "root", "Users", "mnt", "scratch"])
    machine = re.compile(rf"(?<![\w.:/<>$}}{{*])/(?:{folders})/\w")
    wrong, read = [], 0
    for path in files():
        try:
            text = path.read_text("utf-8")
        except UnicodeDecodeError:
            continue
        read += 1
        wrong += [
            f"{path.relative_to(ROOT)}: {line.strip()[:100]}" for line in text.splitlines() if machine.search(line)
        ]
    assert read > 50
    assert wrong == []


def test_no_file_is_large():
    weights = [path for path in files() if path.parent == ROOT / "src/cutis/weights"]
    large = [path for path in files() if path not in weights and path.stat().st_size > FILE_LIMIT]
    assert large == []
    assert sum(path.stat().st_size for path in weights) < WEIGHTS_LIMIT


def test_pictures_are_only_in_the_documentation():
    elsewhere = [p for p in files() if p.suffix.lower() in PICTURES and p.parent != ROOT / "docs/images"]
    assert elsewhere == []


@pytest.mark.data
def test_no_research_image_is_in_the_tree(data_root):
    ours = {path.stat().st_size: path for path in files() if path.suffix.lower() in PICTURES}
    same_size = [p for p in data_root.rglob("*") if p.suffix.lower() in PICTURES and p.stat().st_size in ours]
    hashes = {hashlib.sha256(path.read_bytes()).hexdigest() for path in ours.values()}
    assert [p for p in same_size if hashlib.sha256(p.read_bytes()).hexdigest() in hashes] == []


def test_the_version_is_the_changelogs():
    versions = re.findall(r"^## \[(\d+\.\d+\.\d+)\]", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert versions[0] == cutis.__version__


def test_every_config_is_found_and_its_first_line_is_a_command_that_parses():
    from cutis.cli import app
    from cutis.experiments.ablation_plan import AblationConfig
    from cutis.experiments.grid_config import GridConfig
    from cutis.experiments.mining_plan import MiningGrid
    from cutis.experiments.slsnet_plan import SLSNetGrid
    from cutis.recipes.cascade_config import CascadeConfig
    from cutis.recipes.classification_config import ClassificationConfig
    from cutis.recipes.config import load_config
    from cutis.recipes.pruning_config import PruningConfig
    from cutis.recipes.quantization_config import QuantizationFineTuning
    from cutis.recipes.run import CONFIGS
    from cutis.tuning.kinds import kind_of
    from cutis.tuning.space import check_space, read_space

    models = {
        **CONFIGS, "symmetry": ClassificationConfig, "lesion": ClassificationConfig, "cascade": CascadeConfig,
        "se-lcn": GridConfig, "slsnet": SLSNetGrid, "sparsesegnet": AblationConfig, "prune": PruningConfig,
        "experiment knowledge-mining": MiningGrid, "knowledge-mining": CONFIGS["knowledge_mining"],
        "quantization": QuantizationFineTuning,
    }  # fmt: skip
    configs = sorted((ROOT / "configs").rglob("*.y*ml"))
    assert configs
    assert configs == sorted(p for p in files() if p.suffix in (".yaml", ".yml") and ROOT / "configs" in p.parents)
    for path in configs:
        command = re.match(r"# (cutis .+)\n", path.read_text("utf-8"))
        assert command, f"{path}: the first line is not a comment with the command that runs it"
        words = command[1].split()
        if words[1] == "tune":
            kind = kind_of(ROOT / words[words.index("--config") + 1], (), symmetry=None)
            check_space(read_space(path), path, kind.load)
        else:
            named = (words[1], " ".join(words[1:3]), words[2])
            load_config(path, {}, next(models[name] for name in named if name in models))
        assert f" {path.relative_to(ROOT).as_posix()}" in command[1]
        app.parse_args(command[1].split()[1:], exit_on_error=False, print_error=False)


def test_every_link_and_path_in_the_documents_leads_somewhere():
    pages = [path for path in files() if path.suffix == ".md"]
    missing, seen = [], 0
    for page in pages:
        text = page.read_text("utf-8")
        links = {page.parent / link for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text)}
        named = r"`((?:src|tests|configs|docs|benchmarks|examples)/[\w./-]+\.(?:py|md|yaml|json))`"
        paths = {ROOT / path for path in re.findall(named, text)}
        seen += len(links | paths)
        missing += [f"{page.relative_to(ROOT)}: {path}" for path in links | paths if not path.exists()]
    assert seen > 20
    assert missing == []


def test_every_data_set_that_is_read_is_described():
    from cutis.data.catalogue import READERS

    page = (ROOT / "docs/data.md").read_text("utf-8")
    assert re.findall(r"^### (\w+)$", page, re.MULTILINE) == list(READERS)
    assert re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE) == list(READERS)


@pytest.mark.parametrize("name", modules())
def test_public_names_exist_and_are_documented(name):
    module = importlib.import_module(name)
    assert module.__doc__, f"{name} does not say what it is"
    for public in getattr(module, "__all__", []):
        thing = getattr(module, public)
        if inspect.isfunction(thing) or inspect.isclass(thing):
            written = vars(thing).get("__doc__") if inspect.isclass(thing) else thing.__doc__
            assert written, f"{name}.{public} has no docstring"
            assert not written.startswith(f"{public}("), f"{name}.{public} has only the docstring Python makes"


def test_the_small_size_loads_nothing_of_the_training_size():
    training = (
        "layers|models|teachers|losses|pruning|mining|recipes|tuning|evaluation|export|experiments|benchmark|page"
        "|data.(class_|taught_|mining_|pair_)?batches"
    )
    small = [name for name in modules() if not re.match(rf"cutis\.({training})\b", name)]
    assert {"cutis.cli", "cutis.analysis", "cutis.imaging.read", "cutis.data.ham10000", "cutis.metrics.overlap"} <= set(
        small
    )
    imports = "; ".join(f"import {name}" for name in small)
    loaded = run_python(f"{imports}; import sys; print([m for m in {HEAVY} if m in sys.modules])")
    assert loaded.strip() == "[]"


def test_help_loads_next_to_nothing():
    """0.3 s is the promise; what can break it is an import, and imports can be counted on any machine."""
    heavy = [*HEAVY, "numpy", "cv2", "PIL", "onnxruntime", "yaml", "cutis.analysis", "rich.markdown"]
    show = "from cutis.cli import app\ntry: app(['--help'])\nexcept SystemExit: pass\n"
    loaded = run_python(f"{show}import sys; print([m for m in {heavy} if m in sys.modules])")
    assert loaded.splitlines()[-1] == "[]"


def test_the_wheel_holds_the_package_and_its_weights_and_nothing_else(tmp_path):
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("cutis-*.whl")
    assert wheel.stat().st_size < 30e6  # with its models and the page
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    page = (p for p in (ROOT / "src/cutis/serve/page").rglob("*") if p.is_file())  # where it was built
    expected = {p.relative_to(ROOT / "src").as_posix() for p in [*files(), *page] if ROOT / "src" in p.parents}
    assert packed == expected
