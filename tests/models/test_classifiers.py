"""The symmetry and lesion networks with every backbone: shapes, explanation, training, memory format, ONNX."""

from __future__ import annotations

import copy

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from cutis.errors import CutisError  # noqa: E402
from cutis.models.backbones import BACKBONES, build_trunk  # noqa: E402
from cutis.models.lesion_net import LesionNet  # noqa: E402
from cutis.models.symmetry_net import SymmetryNet  # noqa: E402
from cutis.registry import models  # noqa: E402

CASES = [
    ("symmetry_net", {"backbone": "squeezenet1_1", "classes": 2}),
    ("symmetry_net", {"backbone": "squeezenet1_1", "classes": 3}),
    ("symmetry_net", {"backbone": "resnet34", "classes": 2}),
    ("symmetry_net", {"backbone": "efficientnet_b0", "classes": 3}),
    ("symmetry_net", {"backbone": "shufflenet_v2_x1_0", "classes": 2}),
    ("lesion_net", {"backbone": "efficientnet_b0", "classes": 7, "activation": True}),
    ("lesion_net", {"backbone": "efficientnet_b4", "classes": 7, "activation": False}),
    ("lesion_net", {"backbone": "mobilenetv2_100", "classes": 7, "activation": True}),
]
NAMES = [f"{keywords['backbone']}-{keywords['classes']}" for _, keywords in CASES]


def inputs(keywords, batch, size=64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    image = torch.randn(batch, 3, size, size, generator=generator)
    more = (torch.rand(batch, 1, 5, 5, generator=generator),) if keywords.get("activation") else ()
    return image, *more


@pytest.fixture(scope="module", params=range(len(CASES)), ids=NAMES)
def case(request):
    name, keywords = CASES[request.param]
    torch.manual_seed(request.param)
    return models.build(name, **keywords).eval(), keywords


def test_every_backbone_is_tried():
    assert {keywords["backbone"] for _, keywords in CASES} == set(BACKBONES)


@pytest.mark.parametrize("backbone", sorted({*BACKBONES} - {"efficientnet_b4"}))  # B4 is B0, deeper
def test_cells_look_where_their_receptive_fields_are_centred(backbone):
    """All weights positive: the gradient of a cell is its receptive field. Gates see all and are left out; a maximum
    of equal values would choose one, so a mean stands for it."""
    module, _, cells = build_trunk(backbone)
    module.eval()
    torch.set_flush_denormal(True)  # a receptive field is faint at its ends, and faint numbers are slow
    for part in module.modules():
        if isinstance(part, torch.nn.Conv2d):
            torch.nn.init.constant_(part.weight, 1 / part.weight[0].numel())
        if hasattr(part, "se"):
            part.se = torch.nn.Identity()
        for name, child in part.named_children():
            if isinstance(child, torch.nn.MaxPool2d):
                mean = torch.nn.AvgPool2d(child.kernel_size, child.stride, child.padding, child.ceil_mode)
                setattr(part, name, mean)
    strip = torch.full((1, 3, 1280, 32), 1e-3, requires_grad=True)
    features = module(strip)
    middle = features.shape[2] // 2
    features[0, :, middle, 0].sum().backward()
    torch.set_flush_denormal(False)
    rows = np.flatnonzero(strip.grad[0].abs().sum((0, 2)).numpy())
    assert rows[0] > 0 and rows[-1] < 1279  # none of it was cut off
    assert (rows[0] + rows[-1]) / 2 + 0.5 == cells.first + cells.step * middle


def test_explains_what_it_answers(case):
    network, keywords = case
    given = inputs(keywords, 3)
    with torch.no_grad():
        logits, answer = network(*given), network.explain(*given)
    assert logits.shape == (3, keywords["classes"])
    torch.testing.assert_close(answer.logits, logits)
    batch, one, height, width = answer.activation.shape
    assert (batch, one) == (3, 1) and height == width >= 2
    assert answer.activation.min() >= 0 and answer.activation.max() <= 1
    assert answer.features.shape == (3, build_trunk(keywords["backbone"]).channels)


def test_channels_last_gives_the_same(case):
    network, keywords = case
    given = inputs(keywords, 2)
    with torch.no_grad():
        plain = network.explain(*given)
        other = copy.deepcopy(network).to(memory_format=torch.channels_last)
        found = other.explain(given[0].to(memory_format=torch.channels_last), *given[1:])
    torch.testing.assert_close(found.logits, plain.logits, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found.features, plain.features, atol=1e-4, rtol=1e-4)


def test_a_step_reaches_every_parameter(case):
    network, keywords = case
    network = copy.deepcopy(network).train()
    labels = torch.arange(4) % keywords["classes"]
    torch.nn.functional.cross_entropy(network(*inputs(keywords, 4)), labels).backward()
    without = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert without == []
    assert all(p.grad.abs().sum() > 0 for p in network.head.parameters())


def test_learns_two_colours():
    torch.manual_seed(0)
    network = SymmetryNet("squeezenet1_1", classes=2)
    labels = torch.arange(8) % 2
    image = torch.randn(8, 3, 64, 64) * 0.1 + labels.view(-1, 1, 1, 1) * 1.0
    optimiser = torch.optim.Adam(network.parameters(), lr=3e-4)
    first = None
    for _ in range(30):
        loss = torch.nn.functional.cross_entropy(network(image), labels)
        first = first or loss.item()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss.item() < 0.5 * first


def test_the_squeezenet_head_starts_alive():
    for seed in range(5):
        torch.manual_seed(seed)
        network = SymmetryNet("squeezenet1_1", classes=2).eval()
        with torch.no_grad():
            assert (network(torch.randn(1, 3, 64, 64)) > 0).all()


def test_a_map_is_given_where_one_is_taken_and_nowhere_else():
    with_map, without = (LesionNet("mobilenetv2_100", classes=7, activation=value).eval() for value in (True, False))
    image, activation = torch.zeros(1, 3, 32, 32), torch.zeros(1, 1, 2, 2)
    with pytest.raises(ValueError, match="needs the symmetry network's map"):
        with_map(image)
    with pytest.raises(ValueError, match="takes no map"):
        without(image, activation)


def test_an_unknown_backbone_is_named():
    with pytest.raises(CutisError, match="no backbone 'vgg16'; there are: squeezenet1_1"):
        models.build("symmetry_net", backbone="vgg16", classes=2)


@pytest.mark.parametrize(
    "index",
    [0, 7, *(pytest.param(index, marks=pytest.mark.slow) for index in (2, 3, 4, 6))],
    ids=lambda index: NAMES[index],
)
def test_exports_with_its_map_and_agrees_at_two_batch_sizes(index, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    name, keywords = CASES[index]
    torch.manual_seed(index)
    network = models.build(name, **keywords).eval()

    class Explains(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.network = network

        def forward(self, *given):
            return tuple(self.network.explain(*given))

    given = inputs(keywords, 2)
    dynamic = ({0: torch.export.Dim("batch")},) * len(given)
    path = tmp_path / "network.onnx"
    torch.onnx.export(Explains().eval(), given, path, dynamo=True, dynamic_shapes=(dynamic,), verbose=False)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]
    for batch in (1, 3):
        tensors = inputs(keywords, batch, seed=batch)
        found = session.run(None, {key: tensor.numpy() for key, tensor in zip(names, tensors, strict=True)})
        with torch.no_grad():
            expected = network.explain(*tensors)
        for ours, theirs in zip(found, expected, strict=True):
            np.testing.assert_allclose(ours, theirs.numpy(), atol=2e-4, rtol=1e-3)
