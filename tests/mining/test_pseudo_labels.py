"""An answer averaged with the prediction that asked for it."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

sys.path.insert(0, str(Path(__file__).parent))
from mining_toy import SIDE, Dark, rngs  # noqa: E402

from cutis.mining.prompts import NOTHING  # noqa: E402
from cutis.mining.pseudo_labels import mined  # noqa: E402
from cutis.mining.settings import PromptSettings  # noqa: E402

HOW = PromptSettings(points=2, box=True, mask=False, objects="one")


@pytest.mark.parametrize("side", [SIDE, SIDE // 2])
def test_averaged_is_the_mean_of_two_probabilities_where_something_was_asked(side):
    torch.manual_seed(0)
    embedding, logits = torch.randn(3, 1, SIDE, SIDE), 3 * torch.randn(3, 1, side, side)
    logits[1] = -40.0  # finds nothing
    plain = mined(Dark(), embedding, logits, HOW, rngs(3))
    both = mined(Dark(), embedding, logits, HOW.model_copy(update={"averaged": True}), rngs(3))
    assert plain.objects.tolist() == both.objects.tolist() == [1, 0, 1]
    torch.testing.assert_close(both.score, plain.score, equal_nan=True)  # still the promptable's own
    assert bool((both.logits[1] == NOTHING).all())
    own = logits if side == SIDE else torch.nn.functional.interpolate(logits, (SIDE, SIDE), mode="bilinear")
    for image in (0, 2):
        wanted = (1 / (1 + np.exp(-plain.logits[image].double())) + 1 / (1 + np.exp(-own[image].double()))) / 2
        assert np.abs(1 / (1 + np.exp(-both.logits[image].double())) - wanted).max() < 1e-5
    assert bool(((both.logits > 0) != (plain.logits > 0)).any())
