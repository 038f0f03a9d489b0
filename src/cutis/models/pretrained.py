"""ImageNet weights for a trunk or an encoder: from torchvision or timm, from a file, or none; and what they want.

SE-LCN, Sec. 4.1.2-4.1.3 ("pre-trained on ImageNet"). A file is known by what is in it, not by its name. Two need work:

- A SqueezeNet 1.1 trained by Caffe on BGR pixels of 0 to 255 minus (104, 117, 123), recognised by its first kernel. Its
  input channels are flipped and multiplied by 255 std: it then takes RGB less its own mean over the usual std. Exact.
- MobileNetV2 as quantised TensorFlow Lite. TensorFlow pads a stride of 2 below and to the right, torch all around: on
  even sizes the one is the other turned by 180 degrees, so the kernels are turned. The network then sees every picture
  upside down, which means nothing to a skin lesion, and equals the original exactly where others are off by a pixel.
  Batch norm is folded into this file's weights: `refit_batch_norm` gives it back before training.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from cutis.errors import CutisError
from cutis.models.tflite import Convolutions, is_tflite, read_convolutions

__all__ = ["Moments", "Pretrained", "load_pretrained", "refit_batch_norm"]

Triple = tuple[float, float, float]
MEAN: Triple = (0.485, 0.456, 0.406)  # of torchvision's and timm's weights of every backbone here
STD: Triple = (0.229, 0.224, 0.225)
CAFFE_MEAN: Triple = (123 / 255, 117 / 255, 104 / 255)
CAFFE_KERNEL = (
    "088e118678847ef1b6d3a8a578bcfccd7a47be521ac3686fdd55a01190c20cff"  # SHA-256 of features.0.weight in float16
)


class Pretrained(NamedTuple):
    """What a trunk starts from, in words; `mean` and `std` that the weights want of pixels in [0, 1], RGB.

    `folded`: its batch norms do not normalise, so that training changes what the network computes; call
    `refit_batch_norm(trunk, batches)` on training images first.
    """

    said: str
    mean: Triple | None
    std: Triple | None
    folded: bool


def load_pretrained(trunk: nn.Module, backbone: str, source: str | Path | None) -> Pretrained:
    """Fill `trunk` from `source`: a `backbone` of `cutis.models.backbones`, or the part of one that an encoder keeps.

    None: nothing. "imagenet": what torchvision or timm publishes, fetched or out of their cache. A path: a state dict
    (.pt, .pth, .safetensors) with the keys of torchvision or timm, or MobileNetV2 as .tflite. What cannot be fetched,
    read or does not fit raises `CutisError`.

    >>> from cutis.models.backbones import build_trunk
    >>> load_pretrained(build_trunk("squeezenet1_1").module, "squeezenet1_1", None)
    Pretrained(said='from random weights', mean=None, std=None, folded=False)
    """
    if source is None:
        return Pretrained("from random weights", None, None, False)
    if source == "imagenet":
        _fill(trunk, _published(backbone), f"the published weights of {backbone}")
        return Pretrained(f"from the published ImageNet weights of {backbone}", MEAN, STD, False)
    path = Path(source)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CutisError(f"{path} cannot be read: {error.strerror or error}") from error
    if is_tflite(data):
        return _from_tflite(trunk, backbone, read_convolutions(data), path)
    state = _read_state(path)
    mean = MEAN
    if _is_caffe_squeezenet(state):
        state, mean = _from_caffe(state), CAFFE_MEAN
    _fill(trunk, state, str(path))
    digest = hashlib.sha256(data).hexdigest()[:12]
    return Pretrained(f"from {path.name} (SHA-256 {digest})", mean, STD, False)


@torch.no_grad()
def refit_batch_norm(trunk: nn.Module, batches: Iterable[Tensor]) -> None:
    """Give every batch norm in `trunk` the statistics of `batches`, (B, 3, H, W) normalised, and change nothing else.

    Scale and shift take up the difference: in eval mode the network computes what it did before; in training, where
    each batch is normalised by its own statistics, it now computes nearly the same. For weights with folded norms.

    >>> norm = nn.BatchNorm2d(1, eps=0)
    >>> refit_batch_norm(nn.Sequential(norm), [torch.tensor([[[[1.0, 3.0]]]])])
    >>> norm.running_mean, norm.running_var, norm.weight.data, norm.bias.data
    (tensor([2.]), tensor([1.]), tensor([1.]), tensor([2.]))
    """
    norms = [module for module in trunk.modules() if isinstance(module, nn.BatchNorm2d)]
    seen = {norm: Moments() for norm in norms}
    hooks = [norm.register_forward_pre_hook(lambda module, inputs: seen[module].add(inputs[0])) for norm in norms]
    training = trunk.training
    try:
        trunk.eval()
        for batch in batches:
            trunk(batch)
    finally:
        trunk.train(training)
        for hook in hooks:
            hook.remove()
    for norm, moments in seen.items():
        mean, variance = (value.to(norm.weight.dtype) for value in moments.values())
        gain = norm.weight / (norm.running_var + norm.eps).sqrt()
        norm.bias += gain * (mean - norm.running_mean)
        norm.weight.copy_(gain * (variance + norm.eps).sqrt())
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)


class Moments:
    """Running sums of a channel's values and of their squares, in float64."""

    def __init__(self) -> None:
        self.count = 0
        self.sum: Tensor | float = 0.0
        self.squares: Tensor | float = 0.0

    def add(self, x: Tensor) -> None:
        x = x.double()
        self.count += x.shape[0] * x.shape[2] * x.shape[3]
        self.sum = self.sum + x.sum((0, 2, 3))
        self.squares = self.squares + x.square().sum((0, 2, 3))

    def values(self) -> tuple[Tensor, Tensor]:
        if not isinstance(self.sum, Tensor) or not isinstance(self.squares, Tensor):
            raise ValueError("no image was given to fit the batch norms on")
        mean = self.sum / self.count
        return mean, (self.squares / self.count - mean**2).clamp(min=0)


def _fill(trunk: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Copy what the trunk has; a head is left out, a missing or misshapen tensor is named."""
    own = trunk.state_dict()
    counters = {key for key in own if key.endswith("num_batches_tracked")}
    missing = [key for key in own if key not in state and key not in counters]
    unlike = [key for key in own if key in state and own[key].shape != state[key].shape]
    if missing or unlike:
        example = f"{missing[0]} is missing" if missing else f"{unlike[0]} is {tuple(state[unlike[0]].shape)}"
        wrong = len(missing) + len(unlike)
        raise CutisError(f"{source} does not fit the backbone ({wrong} of {len(own)} tensors; {example}): name another")
    trunk.load_state_dict({key: state.get(key, value) for key, value in own.items()})


def _published(backbone: str) -> Mapping[str, Tensor]:
    import timm
    import torchvision

    from cutis.models.backbones import TORCHVISION

    try:
        if backbone in TORCHVISION:
            return torchvision.models.get_model_weights(backbone).DEFAULT.get_state_dict(check_hash=True)
        return timm.create_model(backbone, pretrained=True, num_classes=0, global_pool="").state_dict()
    except (OSError, RuntimeError) as error:  # no network, no such file, or a download with another hash
        raise CutisError(
            f"the ImageNet weights of {backbone} cannot be fetched ({type(error).__name__}): "
            "give a file with --weights FILE, or start from random weights"
        ) from error


def _read_state(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # each format and version of torch has its own
        kind = type(error).__name__
        raise CutisError(
            f"{path} is not a file of weights ({kind}): give .pt, .pth, .safetensors or .tflite"
        ) from error
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise CutisError(f"{path} holds something else than a state dict: save network.state_dict() alone")
    return state


def fingerprint(kernel: Tensor) -> str:
    """SHA-256 of a tensor's values in float16, however its file stores them."""
    return hashlib.sha256(kernel.half().contiguous().numpy().tobytes()).hexdigest()


def _is_caffe_squeezenet(state: Mapping[str, Tensor]) -> bool:
    kernel = state.get("features.0.weight")
    return kernel is not None and fingerprint(kernel) == CAFFE_KERNEL


def _from_caffe(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    out = {key: value.float() for key, value in state.items()}
    out["features.0.weight"] = out["features.0.weight"].flip(1) * (255 * torch.tensor(STD)).view(1, 3, 1, 1)
    return out


def _from_tflite(trunk: nn.Module, backbone: str, found: Convolutions, path: Path) -> Pretrained:
    """Every convolution of the trunk with the batch norm behind it, in the order both run."""
    modules = list(trunk.modules())
    convolutions = [module for module in modules if isinstance(module, nn.Conv2d)]
    norms = [module for module in modules if isinstance(module, nn.BatchNorm2d)]
    layers = found.layers[: len(convolutions)]  # behind them the file has its head
    shapes = [tuple(module.weight.shape) for module in convolutions]
    if backbone != "mobilenetv2_100" or shapes != [layer.weight.shape for layer in layers]:
        raise CutisError(f"{path} does not fit {backbone}: a .tflite file is read only for mobilenetv2_100")
    with torch.no_grad():
        for convolution, norm, layer in zip(convolutions, norms, layers, strict=True):
            convolution.weight.copy_(torch.from_numpy(layer.weight).flip(2, 3))
            norm.weight.fill_(1)
            norm.bias.copy_(torch.from_numpy(layer.bias))
            norm.running_mean.zero_()
            norm.running_var.fill_(1 - norm.eps)
    said = f"from {path.name}, dequantised (its batch norms folded, its view turned by 180 degrees)"
    return Pretrained(said, (found.mean,) * 3, (found.std,) * 3, True)
