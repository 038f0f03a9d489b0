"""Promptable models: SAM of transformers and the stand-in answer alike, refuse bad prompts, never change, are kept."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from cutis.data.cache import open_cache  # noqa: E402
from cutis.data.folder import read_folder as read_images  # noqa: E402
from cutis.data.synthetic import write_folder  # noqa: E402
from cutis.errors import CutisError  # noqa: E402
from cutis.imaging.preprocessing import Preprocessing  # noqa: E402
from cutis.models.promptable import PromptableNet, drawn_prompts  # noqa: E402
from cutis.records import ModelInfo  # noqa: E402
from cutis.teachers.base import fingerprint_of  # noqa: E402
from cutis.teachers.embeddings import open_embeddings  # noqa: E402
from cutis.teachers.promptable import PromptedFiles, PromptedNetwork, Prompts  # noqa: E402

STEPS = Preprocessing(size=64, mean=(0.7, 0.55, 0.5), std=(0.2, 0.2, 0.2))
BOX = torch.tensor([[8.0, 10.0, 40.0, 44.0], [5.0, 5.0, 60.0, 30.0]])


def stand_in(seed=0):
    torch.manual_seed(seed)
    return PromptedNetwork("toy", PromptableNet("tu-mobilenetv2_035", 16), STEPS)


def points(*which, label=1):
    at = torch.tensor([which] * 2, dtype=torch.float32)
    return Prompts(at, torch.full(at.shape[:2], label))


@pytest.fixture(scope="module")
def sam(tiny_sam):
    pytest.importorskip("transformers")
    from cutis.teachers.sam import SamPromptable

    return SamPromptable("SAM tiny", tiny_sam())


@pytest.fixture(scope="module", params=["stand-in", "sam"])
def promptable(request):
    return request.getfixturevalue("sam") if request.param == "sam" else stand_in()


@pytest.fixture(scope="module")
def image():
    return torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def test_any_prompts_are_answered_and_nothing_is_learned(promptable, image):
    part = promptable.model if hasattr(promptable, "model") else promptable.network
    before = fingerprint_of(part)
    embedding = promptable.embed(image)
    assert not embedding.requires_grad and len(embedding) == 2
    answers = {}
    for name, prompts in {
        "box": Prompts.of_boxes(BOX), "point": points((20, 20)), "beside": points((20, 20), label=0),
        "both": points((20, 20))._replace(boxes=BOX), "mask": Prompts.of_boxes(BOX, torch.randn(2, 1, 50, 50) * 5),
    }.items():  # fmt: skip
        said = promptable.segment(embedding, prompts)
        assert said.logits.shape == (2, 3, 32, 32) and said.scores.shape == (2, 3)
        mask, score = said.best()
        assert mask.shape == (2, 1, 32, 32)
        assert torch.equal(score, said.scores.max(1).values)
        answers[name] = said.logits
    names = list(answers)
    for i, one in enumerate(names):
        for other in names[i + 1 :]:
            assert not torch.equal(answers[one], answers[other]), (one, other)
    assert fingerprint_of(part) == before
    assert not any(p.requires_grad for p in part.parameters()) and not part.training


def test_one_of_a_batch_is_answered_as_alone(promptable, image):
    embedding, prompts = promptable.embed(image), points((20, 20), (40, 30))._replace(boxes=BOX)
    together = promptable.segment(embedding, prompts)
    alone = promptable.segment(embedding[1:], Prompts(*(None if part is None else part[1:2] for part in prompts)))
    torch.testing.assert_close(together.logits[1:], alone.logits, atol=1e-4, rtol=1e-4)


def test_sam_answers_as_transformers_does(sam, image):
    promptable = sam
    said = promptable.segment(promptable.embed(image), points((20, 21), (3, 4))._replace(boxes=BOX))
    mean, std = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]]).view(2, 3, 1, 1)
    with torch.no_grad():
        wanted = promptable.model(
            pixel_values=(image - mean) / std,
            input_points=torch.tensor([[[[20.0, 21.0], [3.0, 4.0]]]] * 2),
            input_labels=torch.ones(2, 1, 2, dtype=torch.int),
            input_boxes=BOX.unsqueeze(1),
        )
    torch.testing.assert_close(said.logits, wanted.pred_masks[:, 0])
    torch.testing.assert_close(said.scores, wanted.iou_scores[:, 0])


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        (points((64, 3)), "the point 64, 3 of image 0 .* outside the square of 64"),
        (points((float("nan"), 3)), "outside the square"),
        (Prompts.of_boxes(BOX + torch.tensor([0, 0, 0, 40.0])), "reaches outside the square of 64 pixels"),
        (Prompts.of_boxes(BOX.flip(1)), "is inside out"),
        (points((3, 3), label=-1), "nothing is asked of image 0"),
    ],
)
def test_bad_prompts_are_refused(prompts, message):
    network = stand_in()
    with pytest.raises(CutisError, match=message):
        network.segment(torch.zeros(2, 16, 8, 8), prompts)


def test_padding_may_lie_anywhere_and_changes_nothing(image):
    network = stand_in()
    embedding, one = network.embed(image), points((20, 20))
    padded = Prompts(
        torch.cat([one.points, torch.full((2, 1, 2), 999.0)], 1), torch.tensor([[1, -1]] * 2)
    )  # fmt: skip
    torch.testing.assert_close(network.segment(embedding, padded).logits, network.segment(embedding, one).logits)


def test_embeddings_are_made_once_completed_and_refused_when_damaged(tmp_path):
    write_folder(tmp_path / "images", 5, 1, width=80, height=60)
    images = open_cache(tuple(read_images(tmp_path / "images")), 64, tmp_path / "cache")
    network = stand_in()
    made = open_embeddings(network, images, tmp_path, batch=2, device="cpu")
    assert made.embedding.shape == (5, 16, 8, 8) and made.embedding.dtype == np.float16
    pixels = torch.from_numpy(np.array(images.images[3:4])).permute(0, 3, 1, 2).float() / 255
    np.testing.assert_allclose(made.embedding[3:4], network.embed(pixels).numpy(), atol=2e-3, rtol=2e-3)

    done = np.load(made.home / "done.npy", mmap_mode="r+")
    before, done[3] = made.embedding[3].copy(), False
    done.flush()
    asked = []
    again = open_embeddings(network, images, tmp_path, batch=2, device="cpu", progress=lambda n, of: asked.append(n))
    assert asked == [5] and np.array_equal(again.embedding[3], before)  # the one that was missing, and no other

    assert open_embeddings(stand_in(1), images, tmp_path, batch=5, device="cpu").home != made.home
    (made.home / "embedding.npy").write_bytes(b"half a file")
    with pytest.raises(CutisError, match="delete the folder"):
        open_embeddings(network, images, tmp_path, batch=2, device="cpu")


class Files:
    """What an exported pair offers, answered by a network."""

    points, mask_side, preprocessing = 4, 32, STEPS

    def __init__(self, network):
        self.network = network
        self.info, self.decoder_info = (
            ModelInfo(name="toy", version="1", precision="fp32", sha256=letter * 64) for letter in "ab"
        )

    def encode(self, squares):
        image = torch.from_numpy(squares).permute(0, 3, 1, 2).float() / 255
        return self.network.embed(image).numpy()

    def decode(self, *feeds):
        with torch.no_grad():
            said = self.network.network.decode(*map(torch.from_numpy, feeds))
        return said.logits.numpy(), said.scores.numpy()


def test_an_exported_pair_answers_as_its_network_does():
    network = stand_in()
    files = PromptedFiles(Files(network))
    assert files.name.endswith("encoder SHA-256 aaaaaaaaaaaa, decoder SHA-256 bbbbbbbbbbbb")
    pixels = torch.randint(0, 256, (2, 3, 64, 64), generator=torch.Generator().manual_seed(1)) / 255
    embedding = network.embed(pixels)
    torch.testing.assert_close(files.embed(pixels), embedding)
    for prompts in (
        Prompts.of_boxes(BOX), points((20, 20), (5, 60)), points((20, 20), label=0)._replace(boxes=BOX),
        Prompts.of_boxes(BOX, torch.randn(2, 1, 64, 64) * 5),
    ):  # fmt: skip
        found, wanted = files.segment(embedding, prompts), network.segment(embedding, prompts)
        torch.testing.assert_close(found.logits, wanted.logits)
        torch.testing.assert_close(found.scores, wanted.scores)
    with pytest.raises(CutisError, match=r"5 points are asked, toy 1 .* takes 4"):
        files.segment(embedding, points(*[(9, 9)] * 5))


def test_points_on_the_lesion_are_drawn_before_points_beside_it():
    at = torch.tensor([[[20.0, 44.0], [51.0, 11.0]]])
    drawn = drawn_prompts(at, torch.tensor([[1, 0]]), None, None, None, 8)[0]
    for channels, (x, y) in ((drawn[:2], (2, 5)), (drawn[2:4], (6, 1))):  # cells of 8 pixels
        for bump in channels:
            assert divmod(int(bump.argmax()), 8) == (y, x) and bump.max() > 0.5
    assert (drawn_prompts(at, torch.tensor([[-1, -1]]), None, None, None, 8)[0, :4] == 0).all()
