"""Encoder and decoder files answer as torch does, in fp32 and nearly so in INT8, and only together."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")

from cutis.analysis.prompted import load_promptable_model  # noqa: E402
from cutis.errors import CutisError  # noqa: E402
from cutis.export.int8 import quantize  # noqa: E402
from cutis.export.parity import answers, open_session  # noqa: E402
from cutis.export.promptable import decoder_feeds, export_promptable, judge_decoder, judge_encoder  # noqa: E402
from cutis.imaging.preprocessing import Preprocessing  # noqa: E402
from cutis.models.promptable import PromptableNet  # noqa: E402
from cutis.teachers.promptable import PromptedNetwork, Prompts  # noqa: E402

pytestmark = pytest.mark.slow  # four exports and two quantisations
STEPS = Preprocessing(size=64, mean=(0.7, 0.55, 0.5), std=(0.2, 0.2, 0.2))


def network(seed):
    torch.manual_seed(seed)
    made = PromptableNet("tu-mobilenetv2_035", 16).eval()
    last = made.decoder.masks[0]
    torch.nn.init.normal_(last.weight, std=0.3)  # masks with edges
    return made


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder, made = tmp_path_factory.mktemp("promptable"), {}
    for seed in (0, 1):
        paths = [folder / f"p{seed}-{part}-fp32.onnx" for part in ("encoder", "decoder")]
        export_promptable(network(seed), STEPS, *paths, name="toy", version="1", threshold=0.5)
        made[seed] = paths
    return made


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (6, 64, 64, 3), dtype=np.uint8)


def test_the_files_answer_as_the_network_does(files, images):
    model, torchs = load_promptable_model(files[0][0]), PromptedNetwork("toy", network(0), STEPS)
    again = load_promptable_model(files[0][0])
    assert (again._encoder, again._decoder) == (model._encoder, model._decoder)  # both stay resident
    pixels = torch.from_numpy(images[:1]).permute(0, 3, 1, 2).float() / 255
    embedding = torchs.embed(pixels)
    mask = np.full((64, 64), 0.02, np.float32)
    mask[10:40, 12:44] = 0.98
    points = torch.tensor([[[20.0, 21.0], [50.0, 9.0]]])
    box = (8.0, 10.0, 40.0, 44.0)
    for asked, prompts in [
        ((box, [], None), Prompts.of_boxes(torch.tensor([box]))),
        ((None, [(20.0, 21.0, True), (50.0, 9.0, False)], None), Prompts(points, torch.tensor([[1, 0]]))),
        (
            (None, [(20.0, 21.0, True)], mask),
            Prompts(points[:, :1], torch.tensor([[1]]), None, torch.from_numpy(mask)[None, None].logit()),
        ),
    ]:
        found, score = model.answer(images[0], *asked)
        best, own = torchs.segment(embedding, prompts).best()
        wanted = torch.nn.functional.interpolate(best, (64, 64), mode="bilinear").sigmoid()[0, 0].numpy()
        atol = 1e-3 if asked[2] is None else 0.05  # a mask is reduced by cv2 there, by torch here
        np.testing.assert_allclose(found, wanted, atol=atol)
        assert score == pytest.approx(own.item(), abs=0.01)


def test_halves_of_two_networks_are_refused(files, tmp_path):
    encoder, decoder = tmp_path / "x-encoder.onnx", tmp_path / "x-decoder.onnx"
    encoder.write_bytes(files[0][0].read_bytes())
    decoder.write_bytes(files[1][1].read_bytes())
    with pytest.raises(CutisError, match="halves of different networks"):
        load_promptable_model(encoder)
    decoder.write_bytes(files[0][0].read_bytes())
    with pytest.raises(CutisError, match="'prompt-encoder', not for 'prompt-decoder'"):
        load_promptable_model(encoder)


def test_int8_is_nearly_the_same_and_judged_by_masks(files, images, tmp_path):
    encoder, decoder = files[0]
    masks = torch.zeros(6, 1, 64, 64)
    masks[:, :, 10:40, 12:44] = 1
    asked = decoder_feeds(answers(open_session(encoder), {"image": images})["embedding"], masks, 1)
    assert set(np.unique(asked["labels"])) == {-1, 0, 1} and len(np.unique(asked["given"], axis=0)) == 3

    def rows(feeds, part):
        return {name: values[part] for name, values in feeds.items()}

    prompts = rows({key: value for key, value in asked.items() if key != "embedding"}, slice(4, 6))
    judges = {"encoder": judge_encoder(encoder, decoder, prompts, 0.5), "decoder": judge_decoder(decoder, 0.5)}
    for part, source, feeds in (("encoder", encoder, {"image": images}), ("decoder", decoder, asked)):
        path = tmp_path / f"p-{part}-int8.onnx"
        made = quantize(
            source, path, calibration=rows(feeds, slice(4)), judging=rows(feeds, slice(4, 6)), judge=judges[part]
        )
        assert made.chosen.loss.order == min(trial.loss.order for trial in made.trials)
        assert made.chosen.loss.mean < 0.1
    model = load_promptable_model(tmp_path / "p-encoder-int8.onnx")
    assert model.info.precision == "int8" and model.points == 8
