"""The shape that pruning left a network in, as numbers a configuration can hold, and a fresh network brought into it.

Ours: a pruned network is its unpruned one with fewer channels, so a run folder that says which needs nothing else to be
opened: `recipes.folder.build` makes the network as always and then cuts it to `channels`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

__all__ = ["channels_of", "cut_to", "difference"]


def channels_of(network: nn.Module) -> dict[str, tuple[int, ...]]:
    """Module -> its channels: outputs and inputs of a convolution, one number for what has one value a channel.

    >>> channels_of(nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU()))
    {'0': (4, 3), '1': (4,)}
    """
    found: dict[str, tuple[int, ...]] = {}
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            found[name] = (module.out_channels, module.in_channels)
        elif lengths := {len(values) for values in _values(module).values()}:
            found[name] = (max(lengths),)
    return found


def difference(network: nn.Module, unpruned: nn.Module) -> dict[str, tuple[int, ...]]:
    """`channels_of` where they are not those of the unpruned network: what makes the one from the other."""
    before = channels_of(unpruned)
    return {name: channels for name, channels in channels_of(network).items() if channels != before[name]}


def cut_to(network: nn.Module, channels: Mapping[str, Sequence[int]]) -> None:
    """Keep the first channels of the named modules, as many as `channels` says, in place: room for pruned weights.

    Raises ValueError naming a module that is not there, or has fewer channels than that.

    >>> network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    >>> cut_to(network, {"0": (2, 3), "1": (2,)})
    >>> network[0].weight.shape, network[1].running_mean.shape
    (torch.Size([2, 3, 1, 1]), torch.Size([2]))
    """
    present = channels_of(network)
    for name, wanted in channels.items():
        there = present.get(name, ())
        if len(wanted) != len(there) or any(not 1 <= w <= t for w, t in zip(wanted, there, strict=True)):
            has = f"has {list(there)}" if there else "is no module with channels"
            raise ValueError(f"pruned to {list(wanted)} channels, but {name!r} {has} in the network of this name")
        module = network.get_submodule(name)
        if isinstance(module, nn.Conv2d):
            _cut_convolution(module, *wanted)
        else:
            _cut_values(module, *wanted)


def _cut_convolution(convolution: nn.Conv2d, outputs: int, inputs: int) -> None:
    if convolution.groups > 1:
        if not convolution.groups == convolution.in_channels == convolution.out_channels or inputs != outputs:
            raise ValueError(f"{convolution}: of convolutions in groups only depthwise ones can be pruned")
        convolution.groups = outputs
    convolution.out_channels, convolution.in_channels = outputs, inputs
    convolution.weight = _first(convolution.weight, outputs, inputs // convolution.groups)
    if convolution.bias is not None:
        convolution.bias = _first(convolution.bias, outputs)


def _cut_values(module: nn.Module, channels: int) -> None:
    for name, values in _values(module).items():
        setattr(module, name, _first(values, channels))
    if isinstance(module, _BatchNorm):
        module.num_features = channels


def _values(module: nn.Module) -> dict[str, Tensor]:
    """A module's own parameters and buffers with one value a channel."""
    own = {**dict(module.named_parameters(recurse=False)), **dict(module.named_buffers(recurse=False))}
    return {name: values for name, values in own.items() if values.ndim == 1}


def _first(values: Tensor, *sides: int) -> Tensor:
    kept = values.detach()[tuple(slice(side) for side in sides)].clone()
    return nn.Parameter(kept) if isinstance(values, nn.Parameter) else kept
