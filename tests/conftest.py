"""What all tests share: where the research data is, and that it is asked for by name; a SAM that costs nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("cutis", deadline=None)  # a busy machine is no failure
settings.load_profile("cutis")


def research_data() -> Path | None:
    """The unpacked data folder: CUTIS_DATA, or `.data` in the repository."""
    for folder in (os.environ.get("CUTIS_DATA"), Path(__file__).parents[1] / ".data"):
        if folder and Path(folder).is_dir():
            return Path(folder)
    return None


@pytest.fixture(scope="session")
def data_root() -> Path:
    folder = research_data()
    if folder is None:
        if os.environ.get("CUTIS_REQUIRE_DATA"):
            pytest.fail("the research data is required here: unpack it to .data or set CUTIS_DATA")
        pytest.skip("no research data: unpack it to .data or set CUTIS_DATA")
    return folder


@pytest.fixture(scope="session")
def tiny_sam():
    """Makes a SAM of 64 pixels with random weights, the same each time."""

    def make():
        torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
        config = transformers.SamConfig(
            vision_config={
                "hidden_size": 16, "output_channels": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
                "image_size": 64, "patch_size": 8, "window_size": 4, "global_attn_indexes": [1], "num_pos_feats": 8,
                "mlp_dim": 32,
            },
            prompt_encoder_config={"hidden_size": 16, "image_size": 64, "patch_size": 8, "mask_input_channels": 4},
            mask_decoder_config={
                "hidden_size": 16, "mlp_dim": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "iou_head_depth": 1,
                "iou_head_hidden_dim": 16,
            },
        )  # fmt: skip
        torch.manual_seed(0)
        return transformers.SamModel(config)

    return make
