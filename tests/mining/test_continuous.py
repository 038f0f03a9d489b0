"""Continuous pseudo-labels: prompts taken in the plain square, the answer moved into the view, nothing else changed."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import sys  # noqa: E402
from pathlib import Path  # noqa: E402

sys.path.insert(0, str(Path(__file__).parent))
from mining_toy import SIDE, Dark  # noqa: E402

from cutis.data.augment import warped  # noqa: E402
from cutis.data.turns import Turns  # noqa: E402
from cutis.imaging.frame import Frame  # noqa: E402
from cutis.mining.continuous import continuous_labels, inverses  # noqa: E402
from cutis.mining.settings import Gates, PromptSettings  # noqa: E402

FRAME = Frame.fit(48, 36, SIDE)
OPEN = Gates(score=None, agreement=None)
HOW = PromptSettings(points=3, box=True, mask=False, objects="one")
ALWAYS = {"horizontal": 1, "vertical": 0, "transpose": 1, "rotation": 0, "rotation_degrees": 0}


def scene():
    """A dark rectangle in a light picture: (1, 3, S, S) and its (S, S) mask."""
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[10:20, 6:16] = 1
    image = np.where(mask > 0, 0.1, 0.9) * np.ones((3, 1, 1))
    return torch.from_numpy(image[None].astype(np.float32)), mask


def ask(logits, matrix, promptable=None, gates=OPEN, how=HOW):
    image, _ = scene()
    promptable = promptable or Dark()
    return continuous_labels(
        promptable, promptable.embed(image).half(), logits, how, gates, matrices=matrix[None], frames=[FRAME],
        draws=[(1, 2)],
    )  # fmt: skip


@pytest.mark.parametrize(
    "turns",
    [
        Turns(**{**ALWAYS, "horizontal": 0, "transpose": 0}),
        Turns(**ALWAYS),
        Turns(**{**ALWAYS, "vertical": 1}),
        Turns(**{**ALWAYS, "rotation": 1, "rotation_degrees": 40}),
    ],
)
def test_the_pseudo_label_is_the_plain_answer_moved_as_the_picture_was(turns):
    _, truth = scene()
    matrix = turns.matrix(SIDE, SIDE, np.random.default_rng(4))
    view = warped(truth, matrix, SIDE)
    logits = torch.from_numpy(view * 6.0 - 3)[None, None].float()  # the small network knows the truth
    promptable = Dark()
    pseudo = ask(logits, matrix, promptable)
    found, expected = pseudo.mask[0, 0] > 0, torch.from_numpy(view) > 0
    assert 2 * (found & expected).sum() / (found.sum() + expected.sum()) > 0.95
    box = promptable.asked[0].boxes[0].tolist()
    assert np.allclose(box, [6, 10, 15, 19], atol=1.01)  # in the plain square, whatever the view
    assert pseudo.used.tolist() == [True] and pseudo.score.tolist() == [pytest.approx(0.9)]


def test_what_the_view_does_not_show_is_not_asked_about():
    half = np.array([[1.0, 0, 11], [0, 1.0, 0]])  # all moved to the right: columns from 21 on are out of the view
    _, truth = scene()
    promptable = Dark()
    ask(torch.from_numpy(warped(truth, half, SIDE) * 6.0 - 3)[None, None].float(), half, promptable)
    assert promptable.asked[0].boxes[0, 2] <= SIDE - 1 - 11


def test_nothing_found_gives_no_pseudo_label():
    pseudo = ask(torch.full((1, 1, SIDE, SIDE), -3.0), np.eye(2, 3))
    assert pseudo.used.tolist() == [False] and pseudo.agreement.isnan().all() and not pseudo.mask.any()


def test_gates_refuse_by_score_and_by_agreement():
    _, truth = scene()
    logits = torch.from_numpy(truth * 6.0 - 3)[None, None].float()
    wide = logits.clone()
    wide[..., 8:30, 2:30] = 3.0
    for gates, some, used in [
        (Gates(score=0.95, agreement=None), logits, False),
        (Gates(score=0.85, agreement=None), logits, True),
        (Gates(score=None, agreement=0.9), logits, True),
        (Gates(score=None, agreement=0.9), wide, False),
    ]:
        assert ask(some, np.eye(2, 3), gates=gates).used.tolist() == [used]


def test_letterbox_bars_are_never_part_of_a_pseudo_label():
    """The toy calls the dark bars an object; the label leaves them out."""
    promptable = Dark()
    image = torch.full((1, 3, SIDE, SIDE), 0.9)
    image[:, :, : FRAME.top], image[:, :, FRAME.top + FRAME.inner_height :] = 0, 0
    pseudo = continuous_labels(
        promptable, promptable.embed(image), torch.full((1, 1, SIDE, SIDE), 3.0), HOW, OPEN,
        matrices=np.eye(2, 3)[None], frames=[FRAME], draws=[(0,)],
    )  # fmt: skip
    assert not pseudo.mask.any()


def test_the_way_back_undoes_the_way_there():
    turns = Turns(horizontal=0.5, vertical=0.5, transpose=0.5, rotation=1, rotation_degrees=90)
    matrices = np.stack([turns.matrix(40, SIDE, np.random.default_rng(i)) for i in range(6)])
    points = np.random.default_rng(0).uniform(0, 40, (6, 2))
    there = np.einsum("bij,bj->bi", matrices[:, :, :2], points) + matrices[:, :, 2]
    back = inverses(matrices)
    assert np.allclose(np.einsum("bij,bj->bi", back[:, :, :2], there) + back[:, :, 2], points)


def test_the_promptable_is_bit_identical_afterwards():
    promptable = Dark()
    before = {name: value.clone() for name, value in promptable.network.state_dict().items()}
    logits = torch.randn(1, 1, SIDE, SIDE, requires_grad=True)
    pseudo = ask(logits, np.eye(2, 3), promptable)
    assert not pseudo.mask.requires_grad
    assert all(torch.equal(value, before[name]) for name, value in promptable.network.state_dict().items())
