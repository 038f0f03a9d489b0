"""Weights from files: TensorFlow Lite, its padding, folded norms, Caffe's input, and files that do not fit.

The .tflite file is built here from random numbers; the real files are tried where the research data is.
"""

from __future__ import annotations

import copy

import numpy as np
import pytest

torch = pytest.importorskip("torch")
flatbuffers = pytest.importorskip("flatbuffers")
import timm  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from cutis.errors import CutisError  # noqa: E402
from cutis.models import pretrained  # noqa: E402
from cutis.models.backbones import build_trunk  # noqa: E402
from cutis.models.lesion_net import LesionNet  # noqa: E402
from cutis.models.pretrained import load_pretrained, refit_batch_norm  # noqa: E402
from cutis.models.symmetry_net import SymmetryNet  # noqa: E402
from cutis.models.tflite import CONV_2D, DEPTHWISE_CONV_2D, read_convolutions  # noqa: E402

MOBILENET = "imagenet_weights/mobilenet_v2_1.0_224_quant.tflite"
SQUEEZENET = "imagenet_weights/squeezenet1_1_imagenet_bgr255_fp16.pt"


def tflite_file(layers):
    """[(uint8 weight as TensorFlow has it, scale, zero, int32 bias, depthwise)] -> bytes, by the official builder.

    The first tensor is the input, (x - 128) / 128; a layer's own output has no tensor, nothing reads it here.
    """
    b = flatbuffers.Builder(1 << 16)

    def table(size, **fields):
        b.StartObject(size)
        for key, (kind, value) in fields.items():
            getattr(b, f"Prepend{kind}Slot")(int(key[1:]), value, 0)
        return b.EndObject()

    def offsets(values):
        b.StartVector(4, len(values), 4)
        for value in reversed(values):
            b.PrependUOffsetTRelative(value)
        return "UOffsetTRelative", b.EndVector()

    def numbers(values, kind):
        return "UOffsetTRelative", b.CreateNumpyVector(np.asarray(values, kind))

    buffers, tensors, operators = [table(1)], [], []

    def tensor(shape, kind, scale, zero, values=None):
        if values is not None:
            buffers.append(table(1, f0=numbers(np.frombuffer(values.tobytes(), np.uint8), np.uint8)))
        quantisation = table(7, f2=numbers([scale], np.float32), f3=numbers([zero], np.int64))
        which = ("Uint32", len(buffers) - 1 if values is not None else 0)
        shape = numbers(shape, np.int32)
        tensors.append(table(8, f0=shape, f1=("Int8", kind), f2=which, f4=("UOffsetTRelative", quantisation)))
        return len(tensors) - 1

    image = tensor([1, 224, 224, 3], 3, 1 / 128, 128)
    for weight, scale, zero, bias, depthwise in layers:
        own = [tensor(weight.shape, 3, scale, zero, weight), tensor(bias.shape, 2, scale / 128, 0, bias)]
        operators.append(table(9, f0=("Uint32", int(depthwise)), f1=numbers([image, *own], np.int32)))
    codes = offsets([table(4, f0=("Int8", code)) for code in (CONV_2D, DEPTHWISE_CONV_2D)])
    graph = table(5, f0=offsets(tensors), f1=numbers([image], np.int32), f3=offsets(operators))
    root = table(8, f0=("Uint32", 3), f1=codes, f2=offsets([graph]), f4=offsets(buffers))
    b.Finish(root, file_identifier=b"TFL3")
    return bytes(b.Output())


def random_layers(network, seed):
    """Random quantised weights for every convolution of `network`, and a head of 5 classes."""
    rng = np.random.default_rng(seed)
    shapes = [m.weight.shape for m in network.modules() if isinstance(m, nn.Conv2d)]
    layers = []
    for out, per_group, height, width in [*shapes, (5, shapes[-1][0], 1, 1)]:
        depthwise = per_group == 1 and height == 3
        shape = (1, 3, 3, out) if depthwise else (out, height, width, per_group)
        weight = rng.integers(0, 256, shape, np.uint8)
        scale = np.float32(0.024 / np.sqrt(per_group * height * width))  # keeps the signal's size through the layers
        layers.append((weight, scale, 128, rng.integers(-60, 60, out).astype(np.int32), depthwise))
    return layers


@pytest.fixture(scope="module")
def quantised(tmp_path_factory):
    layers = random_layers(build_trunk("mobilenetv2_100").module, seed=0)
    path = tmp_path_factory.mktemp("weights") / "any-name.bin"
    path.write_bytes(tflite_file(layers))
    return path, layers


@pytest.fixture(scope="module")
def loaded(quantised):
    network = LesionNet("mobilenetv2_100", classes=7, activation=False).eval()
    return network, load_pretrained(network.trunk, "mobilenetv2_100", quantised[0])


def test_convolutions_are_dequantised_and_in_order(quantised):
    path, layers = quantised
    found = read_convolutions(path.read_bytes())
    assert len(found.layers) == len(layers) == 53
    assert (found.mean, found.std) == pytest.approx((128 / 255, 128 / 255))
    for (weight, scale, zero, bias, depthwise), layer in zip(layers, found.layers, strict=True):
        expected = (weight.astype(np.float64) - zero) * scale
        expected = np.moveaxis(expected[0], -1, 0)[:, None] if depthwise else np.moveaxis(expected, -1, 1)
        np.testing.assert_allclose(layer.weight, expected, rtol=1e-6)
        np.testing.assert_allclose(layer.bias, bias * (scale / 128), rtol=1e-6)


def test_a_damaged_file_is_said(quantised):
    data = quantised[0].read_bytes()
    for broken in (data[:8], data[: len(data) // 2], data[:4] + b"TFL3" + b"\xff" * 200, b"\xff" * 4 + data[4:]):
        with pytest.raises(CutisError, match="damaged"):
            read_convolutions(broken)


def test_equals_tensorflows_padding_on_the_picture_turned_by_180_degrees(loaded, quantised):
    """timm's own "same" padding, the kernels as they stand in the file, and the biases behind plain convolutions."""
    network, said = loaded
    reference = timm.create_model("mobilenetv2_100", num_classes=0, global_pool="", pad_type="same").eval()
    convolutions = [m for m in reference.modules() if isinstance(m, nn.Conv2d)]
    norms = [m for m in reference.modules() if isinstance(m, nn.BatchNorm2d)]
    found = read_convolutions(quantised[0].read_bytes())
    with torch.no_grad():
        for convolution, norm, layer in zip(convolutions, norms, found.layers[:-1], strict=True):
            convolution.weight.copy_(torch.from_numpy(layer.weight))
            norm.bias.copy_(torch.from_numpy(layer.bias))
            norm.running_var.fill_(1 - norm.eps)
        image = torch.randn(2, 3, 96, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
        trunk = copy.deepcopy(network.trunk).double()
        expected, turned = reference.double()(image), trunk(image.flip(2, 3)).flip(2, 3)
        straight = trunk(image)
    assert expected.std() > 0.1
    torch.testing.assert_close(turned, expected, atol=1e-9, rtol=1e-9)
    assert not torch.allclose(straight, expected, atol=0.05)
    assert said.folded and said.mean == pytest.approx((128 / 255,) * 3) and "any-name.bin" in said.said


def test_refitting_changes_nothing_in_eval_and_keeps_training_close(loaded):
    trunk = copy.deepcopy(loaded[0].trunk).double()
    images = torch.randn(16, 3, 64, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        before = trunk(images)
        folded = copy.deepcopy(trunk).train()(images)
        refit_batch_norm(trunk, images.split(4))
        assert not trunk.training
        torch.testing.assert_close(trunk(images), before, atol=1e-6, rtol=1e-6)
        refitted = trunk.train()(images)
    off = [((found - before).norm() / before.norm()).item() for found in (refitted, folded)]
    assert off[0] < 0.01 < 0.3 < off[1]


def test_refitting_needs_images():
    with pytest.raises(ValueError, match="no image"):
        refit_batch_norm(nn.Sequential(nn.BatchNorm2d(2)), [])


@pytest.mark.parametrize("backbone", ["squeezenet1_1", "shufflenet_v2_x1_0", "efficientnet_b0"])
def test_a_state_dict_with_its_library_names_fills_the_trunk_alone(backbone, tmp_path):
    import torchvision

    torch.manual_seed(3)
    make = timm.create_model if backbone == "efficientnet_b0" else torchvision.models.get_model
    whole = make(backbone)
    torch.save({"state_dict": whole.state_dict()}, tmp_path / "weights.pth")
    network = SymmetryNet(backbone, classes=2)
    head = copy.deepcopy(network.head.state_dict())
    said = load_pretrained(network.trunk, backbone, tmp_path / "weights.pth")
    state = whole.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in network.trunk.state_dict().items())
    assert all(torch.equal(value, head[key]) for key, value in network.head.state_dict().items())
    assert said.mean == (0.485, 0.456, 0.406) and not said.folded and "weights.pth (SHA-256" in said.said


def test_safetensors_and_half_precision(tmp_path):
    from safetensors.torch import save_file

    source = build_trunk("squeezenet1_1").module
    save_file({key: value.half() for key, value in source.state_dict().items()}, tmp_path / "weights.safetensors")
    network = SymmetryNet("squeezenet1_1", classes=2)
    load_pretrained(network.trunk, "squeezenet1_1", tmp_path / "weights.safetensors")
    for key, value in network.trunk.state_dict().items():
        assert value.dtype == torch.float32 and torch.equal(value, source.state_dict()[key].half().float())


def test_caffes_input_becomes_normalised_rgb(tmp_path, monkeypatch):
    torch.manual_seed(4)
    state = {key: value.half() for key, value in build_trunk("squeezenet1_1").module.state_dict().items()}
    torch.save(state, tmp_path / "weights.pt")
    monkeypatch.setattr(pretrained, "CAFFE_KERNEL", pretrained.fingerprint(state["features.0.weight"]))
    network = SymmetryNet("squeezenet1_1", classes=2)
    said = load_pretrained(network.trunk, "squeezenet1_1", tmp_path / "weights.pt")
    rgb = torch.randint(0, 256, (1, 3, 32, 32), generator=torch.Generator().manual_seed(5)).float()
    bgr = rgb.flip(1) - torch.tensor([104.0, 117.0, 123.0]).view(1, 3, 1, 1)
    expected = F.conv2d(bgr, state["features.0.weight"].float(), state["features.0.bias"].float(), stride=2)
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (said.mean, said.std))
    with torch.no_grad():
        found = network.trunk.features[0]((rgb / 255 - mean) / std)
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-4)


def test_what_does_not_fit_is_named(tmp_path, quantised):
    torch.save(build_trunk("squeezenet1_1").module.state_dict(), tmp_path / "squeezenet.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    (tmp_path / "text.pt").write_text("not weights")
    network = SymmetryNet("shufflenet_v2_x1_0", classes=2)
    before = copy.deepcopy(network.state_dict())
    for name, words in {
        "squeezenet.pt": "does not fit the backbone .* is missing",
        "list.pt": "holds something else than a state dict",
        "text.pt": "is not a file of weights",
        "absent.pt": "cannot be read",
    }.items():
        with pytest.raises(CutisError, match=words):
            load_pretrained(network.trunk, "shufflenet_v2_x1_0", tmp_path / name)
    with pytest.raises(CutisError, match="read only for mobilenetv2_100"):
        load_pretrained(network.trunk, "shufflenet_v2_x1_0", quantised[0])
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_a_segmenters_encoder_takes_them_without_the_head(quantised):
    """smp's encoder is timm's network without its last 1x1 convolution: the file's layers behind it are left out."""
    from cutis.models.unets import deeplabv3plus, fill_encoder

    network = deeplabv3plus(encoder="tu-mobilenetv2_100").eval()
    found = fill_encoder(network, "tu-mobilenetv2_100", quantised[0])
    convolutions = [m for m in network.encoder.modules() if isinstance(m, nn.Conv2d)]
    layers = read_convolutions(quantised[0].read_bytes()).layers
    assert found.folded and len(convolutions) == len(layers) - 2 == 51
    for ours, layer in zip(convolutions, layers, strict=False):
        np.testing.assert_array_equal(ours.weight.detach().numpy(), layer.weight[..., ::-1, ::-1])
    image = torch.rand(4, 3, 64, 64)
    with torch.no_grad():
        before = network.encoder(image)[-1]
        refit_batch_norm(network.encoder, [image])
        torch.testing.assert_close(network.encoder(image)[-1], before, rtol=1e-3, atol=5e-3)


@pytest.mark.parametrize("backbone", ["resnet34", "efficientnet_b0"])
def test_without_a_network_the_error_names_the_way_out(backbone, monkeypatch):
    import torchvision

    def offline(*arguments, **keywords):
        raise ConnectionError("no route")

    network = SymmetryNet(backbone, classes=2)
    monkeypatch.setattr(timm, "create_model", offline)
    monkeypatch.setattr(torchvision.models.ResNet34_Weights, "get_state_dict", offline)
    with pytest.raises(CutisError, match=r"cannot be fetched .ConnectionError.: give a file with --weights"):
        load_pretrained(network.trunk, backbone, "imagenet")


@pytest.mark.data
def test_the_real_file_reads_as_the_tflite_package_reads_it(data_root):
    tflite = pytest.importorskip("tflite")
    data = (data_root / MOBILENET).read_bytes()
    model = tflite.Model.GetRootAs(data, 0)
    graph = model.Subgraphs(0)
    expected = []
    for index in range(graph.OperatorsLength()):
        operator = graph.Operators(index)
        if model.OperatorCodes(operator.OpcodeIndex()).DeprecatedBuiltinCode() in (CONV_2D, DEPTHWISE_CONV_2D):
            weight = graph.Tensors(operator.Inputs(1))
            stored = model.Buffers(weight.Buffer()).DataAsNumpy().astype(np.float64)
            expected.append((stored - weight.Quantization().ZeroPoint(0)) * weight.Quantization().Scale(0))
    found = read_convolutions(data).layers
    assert len(found) == len(expected) == 53
    for layer, values in zip(found, expected, strict=True):
        back = layer.weight.transpose(1, 2, 3, 0) if layer.depthwise else layer.weight.transpose(0, 2, 3, 1)
        np.testing.assert_allclose(back.ravel(), values, atol=1e-6)


@pytest.mark.data
@pytest.mark.parametrize(("backbone", "file"), [("squeezenet1_1", SQUEEZENET), ("mobilenetv2_100", MOBILENET)])
def test_real_imagenet_weights_know_a_cat_and_a_cup_of_coffee(data_root, backbone, file):
    skimage = pytest.importorskip("skimage.data")
    names = (data_root / "imagenet_weights/imagenet_labels_1000.txt").read_text().splitlines()
    network = SymmetryNet(backbone, classes=2).eval()
    said = load_pretrained(network.trunk, backbone, data_root / file)
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (said.mean, said.std))
    for picture, word in ((skimage.chelsea(), "cat"), (skimage.coffee(), "espresso")):
        image = torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float() / 255
        image = F.interpolate(image[..., 20:280, 60:380], (224, 288), mode="bilinear", antialias=True)
        x = (image - mean) / std
        with torch.no_grad():
            if backbone == "squeezenet1_1":
                state = torch.load(data_root / file, weights_only=True)
                weight, bias = state["classifier.1.weight"].float(), state["classifier.1.bias"].float()
                scores = F.conv2d(network.trunk(x), weight, bias).relu().mean((2, 3))[0]
            else:
                head = read_convolutions((data_root / file).read_bytes()).layers[-1]
                pooled = network.trunk(x.flip(2, 3)).mean((2, 3))  # its view is turned
                weight, bias = torch.from_numpy(head.weight[:, :, 0, 0]), torch.from_numpy(head.bias)
                scores = F.linear(pooled, weight, bias)[0, 1:]  # TensorFlow's class 0 is "background"
        assert word in names[scores.argmax()]
