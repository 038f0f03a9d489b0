"""Simulated quantisation: a network answers as its INT8 file will, and gradients pass through the rounding.

Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference" (CVPR 2018,
arXiv 1712.05877), Sec. 2.1 and 3: values are rounded and brought back in the forward pass, the backward pass takes the
rounding for the identity where the value lies in range (the straight-through estimator). Differs in that the ranges of
activations are observed once, on calibration images as `export/int8.py` does, and then frozen (there: moving averages),
and in that batch norm is not folded: a scale a channel commutes with symmetric rounding a channel, so that the folded
weights, rounded, are the rounded weights, folded.

What is rounded is what that file rounds: weights of convolutions, and every value that a convolution, an addition or a
concatenation reads. In float stay the first convolution, one behind the maximum right after it, all that comes after
the last one, linear layers and transposed convolutions, and here sigmoids and products too. The network itself is not
changed: torch's own calls are intercepted while it runs, and its values are told apart by their order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

__all__ = ["SimulatedQuantization", "affine", "quantize_dequantize", "quantize_weight"]

_SUMS, _JOINS = ("add", "add_"), ("cat", "concat", "concatenate")
_BOUNDS = ("batch_norm", "clamp", "hardtanh", "relu", "relu6", "relu_")  # batch norm is folded away


class _Round(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, zero_point: Tensor, ends: tuple[int, int]) -> Tensor:
        found = torch.round(x / scale) + zero_point
        ctx.save_for_backward((found >= ends[0]) & (found <= ends[1]))
        return (found.clamp_(*ends) - zero_point) * scale

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        return gradient * ctx.saved_tensors[0], None, None, None


def quantize_dequantize(x: Tensor, scale: Tensor, zero_point: Tensor, ends: tuple[int, int]) -> Tensor:
    """Any float32 -> the nearest value `scale` * (q - `zero_point`) with an integer q within `ends`; ties to even.

    `scale`, `zero_point`: float32, of one value or broadcast. As ONNX's QuantizeLinear and DequantizeLinear, to the
    last bit. The gradient is that of the identity where q needed no clipping, else 0.

    >>> x = torch.tensor([-1.0, 0.24, 0.26, 9.0], requires_grad=True)
    >>> y = quantize_dequantize(x, torch.tensor(0.5), torch.tensor(1.0), (0, 255))
    >>> y.sum().backward()
    >>> y.tolist(), x.grad.tolist()
    ([-0.5, 0.0, 0.5, 9.0], [0.0, 1.0, 1.0, 1.0])
    """
    return _Round.apply(x.float(), scale, zero_point, ends)


def quantize_weight(weight: Tensor) -> Tensor:
    """(O, ...) float32 -> the same rounded to signed bytes, -127 to 127, symmetric, a scale for each output channel.

    >>> quantize_weight(torch.tensor([[127.0, 1.4], [0.0, 0.0]])).tolist()
    [[127.0, 1.0], [0.0, 0.0]]
    """
    furthest = weight.detach().abs().flatten(1).amax(1).reshape(-1, *[1] * (weight.ndim - 1))
    scale = (furthest.double() * 2 / 254).float()
    return quantize_dequantize(weight, torch.where(scale > 0, scale, 1.0), torch.zeros_like(scale), (-127, 127))


def affine(least: Tensor, greatest: Tensor) -> tuple[Tensor, Tensor]:
    """Ends of ranges, float32 -> scale and zero point of unsigned bytes, float32; 0 is always represented exactly.

    >>> [end.tolist() for end in affine(torch.tensor([-1.0, 2.0]), torch.tensor([1.55, 51.0]))]
    [[0.009999999776482582, 0.20000000298023224], [100.0, 0.0]]
    """
    low, high = least.double().clamp(max=0), greatest.double().clamp(min=0)
    scale = (high - low) / 255
    some = scale >= torch.finfo(torch.float32).tiny
    scale = torch.where(some, scale, 1.0)
    return scale.float(), torch.where(some, torch.round(low.abs() / scale), 0.0).float()


class _Plan(NamedTuple):
    """Convolutions by their order: how many there are, and which stay in float."""

    convolutions: int
    kept: frozenset[int]


class _Pass(TorchFunctionMode):
    """While it is entered: `value` (number, x) gets each value that is rounded, `weight` each quantised convolution's
    weights; what they return takes their place."""

    def __init__(self, plan: _Plan, value: Callable[[int, Tensor], Tensor], weight: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.plan, self.value, self.weight = plan, value, weight
        self.convolutions = self.values = 0

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs, name = kwargs or {}, getattr(func, "__name__", "")
        if name == "conv2d":
            return self._convolve(func, args, kwargs)
        if not 0 < self.convolutions < self.plan.convolutions:
            return func(*args, **kwargs)
        if name in _SUMS:
            found = torch.add(*[self._read(x) for x in args], **kwargs)
            return found if name == "add" else args[0].copy_(found)
        if name in _JOINS:
            return func([self._read(x) for x in args[0]], *args[1:], **kwargs)
        return func(*args, **kwargs)

    def _convolve(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Tensor:
        number, last = self.convolutions, self.plan.convolutions - 1
        self.convolutions += 1
        x, weight, *rest = args
        if number in self.plan.kept:
            return func(self._read(x) if number == last > 0 else x, weight, *rest, **kwargs)
        found = func(self._read(x), self.weight(weight), *rest, **kwargs)
        return self._read(found) if number == last else found

    def _read(self, x: Any) -> Any:
        if not isinstance(x, Tensor) or isinstance(x, nn.Parameter) or x.ndim != 4:
            return x
        self.values += 1
        return self.value(self.values - 1, x)


class _Planning(TorchFunctionMode):
    """Counts convolutions and finds those that belong to the first one: behind a maximum right after it, and so on."""

    def __init__(self) -> None:
        super().__init__()
        self.convolutions, self.kept = 0, {0}
        self.after: dict[int, tuple[Tensor, str]] = {}  # keeps the tensors, so that no id is of two

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        name = getattr(func, "__name__", "")
        came = self.after.get(id(args[0]), (None, ""))[1] if args else ""
        found = func(*args, **(kwargs or {}))
        tag = ""
        if name == "conv2d":
            if self.convolutions == 0 or came == "maximum":
                self.kept.add(self.convolutions)
                tag = "float"
            self.convolutions += 1
        elif name in _BOUNDS:
            tag = came
        elif name == "max_pool2d" and came:
            tag = "maximum"
        if isinstance(found, Tensor):
            self.after[id(found)] = (found, tag)
        return found


class SimulatedQuantization(nn.Module):
    """(network, (B, 3, H, W)) -> what the network answers in INT8, in the mode it is in, but for the order of sums.

    `image` (B, 3, H, W): an example, to find by one pass what is rounded. `float_head`: the last convolution keeps its
    weights. Scales and zero points are buffers, 0 until `observe` or a checkpoint gives them.

    >>> network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 1, 1)).eval()
    >>> simulated = SimulatedQuantization(network, torch.zeros(1, 3, 8, 8), float_head=False)
    >>> simulated.observe(network, [torch.rand(2, 3, 8, 8)], "extreme")
    >>> simulated(network, torch.rand(2, 3, 8, 8)).unique().numel() <= 256, simulated.scale.shape
    (True, torch.Size([2]))
    """

    scale: Tensor
    zero_point: Tensor

    @torch.no_grad()
    def __init__(self, network: nn.Module, image: Tensor, *, float_head: bool) -> None:
        super().__init__()
        with _Planning() as found:
            network(image)
        head = {found.convolutions - 1} if float_head else set()
        self.plan = _Plan(found.convolutions, frozenset(found.kept | head))
        self.register_buffer("scale", torch.zeros(len(self._ranges(network, image))))
        self.register_buffer("zero_point", torch.zeros_like(self.scale))

    @torch.no_grad()
    def observe(self, network: nn.Module, images: Iterable[Tensor], ranges: Literal["extreme", "mean"]) -> None:
        """Set the ranges: of each value the extremes over all images, or the mean of each image's extremes.

        `images`: batches of (B, 3, H, W), as the network takes them.
        """
        found = torch.cat([self._ranges(network, batch) for batch in images], 1)
        least, greatest = found.unbind(-1)
        over = {"extreme": (least.amin(1), greatest.amax(1)), "mean": (least.mean(1), greatest.mean(1))}
        scale, zero_point = affine(*over[ranges])
        self.scale.copy_(scale)
        self.zero_point.copy_(zero_point)

    def forward(self, network: nn.Module, image: Tensor) -> Tensor:
        def value(number: int, x: Tensor) -> Tensor:
            return quantize_dequantize(x, self.scale[number], self.zero_point[number], (0, 255))

        with _Pass(self.plan, value, quantize_weight):
            return network(image)

    def _ranges(self, network: nn.Module, image: Tensor) -> Tensor:
        """(values, B, 2): the least and the greatest of each value in each image."""
        found: list[Tensor] = []

        def value(number: int, x: Tensor) -> Tensor:
            found.append(torch.stack([x.flatten(1).amin(1), x.flatten(1).amax(1)], 1))
            return x

        with _Pass(self.plan, value, lambda weight: weight):
            network(image)
        return torch.stack(found) if found else torch.zeros(0, len(image), 2)
