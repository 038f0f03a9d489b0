"""Every kind of teacher on tiny random weights: shapes, frozen bits, what is said of what is missing. No download."""

from __future__ import annotations

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from cutis.errors import CutisError  # noqa: E402
from cutis.imaging.preprocessing import Preprocessing  # noqa: E402
from cutis.models.sparsesegnet import SparseSegNet  # noqa: E402
from cutis.registry import models  # noqa: E402
from cutis.teachers.base import fingerprint_of  # noqa: E402
from cutis.teachers.network import NetworkTeacher, maps_of  # noqa: E402
from cutis.teachers.seem import SeemAnswers  # noqa: E402

STEPS = Preprocessing(size=64, mean=(0.7, 0.55, 0.5), std=(0.2, 0.2, 0.2))


@pytest.fixture(scope="module")
def image():
    return torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def small(seed=3):
    torch.manual_seed(seed)
    return SparseSegNet((8, 8, 16, 24), (1, 1, 1, 1))


def test_a_network_gives_its_logits_and_a_named_layer(image):
    network = small()
    teacher = NetworkTeacher("run", network, STEPS, layer="encoder.stage3")
    before = fingerprint_of(network)
    answer = teacher.answer(image)
    assert (answer.logits.shape, answer.embedding.shape) == ((2, 1, 64, 64), (2, 16, 4, 4))
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (STEPS.mean, STEPS.std))
    with torch.no_grad():
        torch.testing.assert_close(answer.logits, network((image - mean) / std))
        torch.testing.assert_close(answer.embedding, network.encoder((image - mean) / std)[2])
    assert fingerprint_of(network) == before
    assert not any(p.requires_grad for p in network.parameters())
    assert not network.encoder.stage3._forward_hooks


def test_its_fingerprint_is_of_weights_layer_and_preprocessing():
    def of(seed=3, layer="encoder.stage3", steps=STEPS):
        return NetworkTeacher("run", small(seed), steps, layer=layer).fingerprint

    other = STEPS.model_copy(update={"clahe": True})
    assert of() == of()
    assert len({of(), of(4), of(layer="encoder.stage4"), of(steps=other)}) == 4


def test_a_layer_that_is_none_is_answered_with_those_there_are():
    with pytest.raises(CutisError, match=r"no layer 'stage9' that gives a map: name one of .*encoder\.stage4 24x4x4"):
        NetworkTeacher("run", small(), STEPS, layer="stage9")


@pytest.mark.parametrize("name", ["unet", "deeplabv3plus"])
def test_networks_of_segmentation_models_teach_too(name, image):
    pytest.importorskip("segmentation_models_pytorch")
    network = models.build(name, encoder="mobilenet_v2")
    layer = next(layer for layer in maps_of(network.eval(), 64) if layer.startswith("decoder"))
    answer = NetworkTeacher(name, network, STEPS, layer=layer).answer(image)
    assert answer.logits.shape == (2, 1, 64, 64)
    assert answer.embedding.ndim == 4


def test_sam_from_a_folder(tmp_path, image, tiny_sam):
    from cutis.teachers.sam import SamTeacher, load_sam

    model = tiny_sam()
    model.save_pretrained(tmp_path / "sam-tiny")
    teacher = load_sam(tmp_path / "sam-tiny", None, "cpu")
    assert teacher.name == "SAM sam-tiny, prompted by the middle"
    assert teacher.preprocessing.size == 64
    before = fingerprint_of(teacher.sam.model)
    answer = teacher.answer(image)
    assert (answer.logits.shape, answer.embedding.shape) == ((2, 1, 32, 32), (2, 16, 8, 8))
    assert fingerprint_of(teacher.sam.model) == before
    pointed = load_sam(tmp_path / "sam-tiny" / "model.safetensors", None, "cpu")
    assert pointed.fingerprint == teacher.fingerprint

    mean, std = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]]).view(2, 3, 1, 1)
    normal = (image - mean) / std
    with torch.no_grad():
        said = model.eval()(pixel_values=normal, input_points=torch.full((2, 1, 1, 2), 31.5))
    best = said.iou_scores[:, 0].argmax(1)
    torch.testing.assert_close(answer.logits[:, 0], said.pred_masks[torch.arange(2), 0, best])

    prompter = NetworkTeacher("run", small(), STEPS, layer="encoder")
    boxed = SamTeacher("SAM", model, prompter)
    assert boxed.name == "SAM, prompted by run"
    assert boxed.fingerprint != teacher.fingerprint
    assert boxed.answer(image).logits.shape == (2, 1, 32, 32)


def test_missing_weights_say_where_to_get_them_and_how_to_point_to_them(tmp_path, tiny_sam):
    pytest.importorskip("transformers")
    from cutis.teachers.clipseg import load_clipseg
    from cutis.teachers.sam import load_sam

    get = r"facebook/sam-vit-huge .* huggingface\.co.*hf download facebook/sam-vit-huge .*--weights FOLDER"
    with pytest.raises(CutisError, match=f"SAM has no weights here .*{get}"):
        load_sam(None, None, "cpu")
    with pytest.raises(CutisError, match=rf"nothing holds no SAM .*no config\.json.*{get}"):
        load_sam(tmp_path / "nothing", None, "cpu")
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(CutisError, match="holds a 'bert', not SAM"):
        load_sam(tmp_path, None, "cpu")
    (tmp_path / "config.json").write_text('{"model_type": "sam"}')
    with pytest.raises(CutisError, match=r"no weights \(model\.safetensors\)"):
        load_sam(tmp_path, None, "cpu")
    tiny_sam().save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"half a file")
    with pytest.raises(CutisError, match="does not hold SAM's weights"):
        load_sam(tmp_path, None, "cpu")
    with pytest.raises(CutisError, match="say what for"):
        load_clipseg(tmp_path, None, "cpu")
    with pytest.raises(CutisError, match="not CLIPSeg"):
        load_clipseg(tmp_path, "lesion", "cpu")


def test_weights_that_lack_tensors_are_refused(tmp_path, tiny_sam):
    pytest.importorskip("transformers")
    from safetensors.torch import load_file, save_file

    from cutis.teachers.sam import load_sam

    tiny_sam().save_pretrained(tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    state.pop("mask_decoder.iou_token.weight")
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CutisError, match=r"lacks 1 of SAM's tensors \(mask_decoder\.iou_token\.weight\)"):
        load_sam(tmp_path, None, "cpu")


def write_tokenizer(folder):
    """CLIP's byte-level tokenizer with no merges: every letter is a token."""
    letters = [chr(c) for c in range(33, 127)]
    names = [*letters, *(f"{c}</w>" for c in letters), "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({name: i for i, name in enumerate(names)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "CLIPTokenizer"}))
    return len(names)


def test_clipseg_is_asked_in_words(tmp_path, monkeypatch):
    transformers = pytest.importorskip("transformers")
    from cutis.teachers import clipseg

    words = write_tokenizer(tmp_path)
    config = transformers.CLIPSegConfig(
        text_config={
            "vocab_size": words, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1,
            "num_attention_heads": 2, "eos_token_id": words - 1, "bos_token_id": words - 2, "pad_token_id": words - 1,
        },
        vision_config={
            "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2,
            "image_size": 32, "patch_size": 16,
        },
        projection_dim=16, extract_layers=[0, 1, 2], reduce_dim=12, decoder_num_attention_heads=2,
        decoder_intermediate_size=24,
    )  # fmt: skip
    torch.manual_seed(0)
    transformers.CLIPSegForImageSegmentation(config).save_pretrained(tmp_path)
    monkeypatch.setattr(clipseg, "SIZE", 64)
    teacher = clipseg.load_clipseg(tmp_path, "lesion", "cpu")
    image = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    answer = teacher.answer(image)
    assert (answer.logits.shape, answer.embedding.shape) == ((2, 1, 64, 64), (2, 12, 4, 4))
    alone = teacher.answer(image[:1])
    torch.testing.assert_close(alone.logits, answer.logits[:1], rtol=1e-4, atol=1e-5)
    other = clipseg.load_clipseg(tmp_path, "hair", "cpu")
    assert other.fingerprint != teacher.fingerprint
    assert not torch.allclose(other.answer(image).embedding, answer.embedding)
    for name in ("vocab.json", "merges.txt", "tokenizer_config.json"):
        (tmp_path / name).unlink()
    with pytest.raises(CutisError, match="lacks CLIPSeg's tokenizer"):
        clipseg.load_clipseg(tmp_path, "lesion", "cpu")


def test_seems_answers_are_read_and_refused_by_name(cache, tmp_path):
    folder = tmp_path / "answers"
    with pytest.raises(CutisError, match=r"no answers of SEEM .*tools/seem_answers\.py .*segmentation-32-"):
        SeemAnswers(None, cache)
    folder.mkdir()
    facts = {"format": 1, "teacher": "SEEM focal-L", "fingerprint": "f", "images": cache.key}
    maps = {"logits": np.zeros((5, 1, 8, 8), np.float16), "embedding": np.ones((5, 6, 8, 8), np.float16)}

    def write(facts=facts, **other):
        (folder / "answers.json").write_text(json.dumps(facts))
        for name, array in (maps | other).items():
            np.save(folder / f"{name}.npy", array)

    write()
    found = SeemAnswers(folder, cache)
    assert found.at([3, 1]).embedding.shape == (2, 6, 8, 8)
    assert (found.name, found.fingerprint) == ("SEEM focal-L", "f")
    write(facts | {"images": "other"})
    with pytest.raises(CutisError, match=r"answers another image set \(other\)"):
        SeemAnswers(folder, cache)
    write(embedding=np.ones((4, 6, 8, 8), np.float16))
    with pytest.raises(CutisError, match=r"embedding\.npy is \(4, 6, 8, 8\) of float16: \(5, K, h, w\)"):
        SeemAnswers(folder, cache)
    write({"format": 1})
    with pytest.raises(CutisError, match=r"is not as documented \(see teachers/seem\.py\)"):
        SeemAnswers(folder, cache)


def test_the_script_for_seem_writes_what_is_read_and_goes_on_after_a_cut(cache, tmp_path):
    import importlib.util
    from pathlib import Path

    place = Path(__file__).parents[2] / "tools" / "seem_answers.py"
    spec = importlib.util.spec_from_file_location("seem_answers", place)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    asked = []

    def ask(square):
        asked.append(square.copy())
        if len(asked) == 3 and not (tmp_path / "a" / "gone").exists():
            raise KeyboardInterrupt
        pixels = torch.from_numpy(square.copy()).permute(2, 0, 1).float()
        return pixels[:1], pixels.repeat(2, 1, 1)

    facts = {"teacher": "SEEM", "fingerprint": "f"}
    with pytest.raises(KeyboardInterrupt):
        script.write_answers(cache.home, tmp_path / "a", facts, 8, ask)
    (tmp_path / "a" / "gone").touch()
    with pytest.raises(CutisError, match="there are no answers of SEEM"):
        SeemAnswers(tmp_path / "a", cache)
    script.write_answers(cache.home, tmp_path / "a", facts, 8, ask)
    answer = SeemAnswers(tmp_path / "a", cache).at(range(5))
    expected = torch.from_numpy(np.array(cache.images)).permute(0, 3, 1, 2).float()
    expected = torch.nn.functional.interpolate(expected, (8, 8), mode="bilinear", antialias=True)
    torch.testing.assert_close(answer.embedding[:, :3], expected, rtol=2e-3, atol=0.2)
    done = len(asked)
    script.write_answers(cache.home, tmp_path / "a", facts, 8, ask)
    assert len(asked) == done
