"""Channels leave a network for good, with all that hangs on them: torch-pruning does the graph.

Ours, on Fang et al., "DepGraph" (CVPR 2023). A channel of a block is a channel of every block it is added to, of the
concatenation that reads it, of the depthwise convolution behind it, of the gate (EFFU) on it and, behind a pixel
shuffle of factor r, r * r channels of the convolution before that. torch-pruning knows all of these but the last two,
which are told to it here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
import torch_pruning as tp
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch_pruning.dependency.index_mapping import _FlattenIndexMapping

from cutis.layers.effu import EFFU

__all__ = ["convolution_of", "owners", "remove"]


def remove(network: nn.Module, example: Tensor, channels: Mapping[str, Sequence[int]]) -> None:
    """Take channels out, in place: block -> indices of the channels of its last convolution that go.

    `example`: an input to trace, (1, 3, H, W). Weights that stay keep their values. Raises ValueError for a block that
    would lose all its channels, or them of the network's answer, and for two blocks whose channels are the same ones.
    """
    graph = _trace(network, example)
    groups: dict[str, Any] = {}
    taken: dict[str, str] = {}
    for name, indices in channels.items():
        if not len(indices):
            continue
        group = _group(graph, network, name, sorted({int(index) for index in indices}))
        _refuse_too_much(graph, name, group)
        for part in _written(graph, group):
            if taken.setdefault(part, name) != name:
                raise ValueError(f"{taken[part]} and {name} share their channels ({part}): name one of them")
        groups[name] = group
    for group in groups.values():  # each along a dimension of its own, so their indices stay true
        group.prune()


def owners(network: nn.Module, example: Tensor, name: str) -> dict[str, Tensor]:
    """Module -> (its channels,) int64: which channel of the block `name` each of them is, -1 for none.

    The modules are those whose outputs, multiplied by 0, take the block's channel away: batch norms and convolutions
    without one.
    """
    graph = _trace(network, example)
    found = {}
    group = _group(graph, network, name, range(convolution_of(network, name).out_channels))
    for item in group.items:
        module = item.dep.target.module
        if not graph.is_out_channel_pruning_fn(item.dep.handler) or not _is_written_by(graph, module):
            continue
        channels = module.num_features if isinstance(module, _BatchNorm) else module.out_channels
        owner = torch.full((channels,), -1)
        owner[torch.tensor(item.idxs)] = torch.tensor(item.root_idxs)
        found[graph._module2name[module]] = owner
    return found


def convolution_of(network: nn.Module, name: str) -> nn.Conv2d:
    """The last convolution of the block called `name`: its outputs are the block's channels."""
    try:
        block = network.get_submodule(name)
    except AttributeError as error:
        raise ValueError(f"the network has no block {name!r}") from error
    convolutions = [module for module in block.modules() if isinstance(module, nn.Conv2d)]
    if not convolutions:
        raise ValueError(f"{name} has no convolution whose channels could be pruned")
    return convolutions[-1]


class _Gates(tp.BasePruningFunc):
    """An EFFU loses the gates of the channels that go."""

    TARGET_MODULES = EFFU

    def prune_out_channels(self, layer: EFFU, idxs: Sequence[int]) -> EFFU:
        gone = set(idxs)
        layer.phi = self._prune_parameter_and_grad(layer.phi, [i for i in range(len(layer.phi)) if i not in gone], 0)
        layer.pattern = None
        return layer

    prune_in_channels = prune_out_channels

    def get_out_channels(self, layer: EFFU) -> int:
        return len(layer.phi)

    get_in_channels = get_out_channels


def _trace(network: nn.Module, example: Tensor) -> tp.DependencyGraph:
    training = network.training
    needed = [parameter.requires_grad for parameter in network.parameters()]
    network.eval().requires_grad_(True)
    with torch.enable_grad():
        graph = tp.DependencyGraph().build_dependency(
            network, example.requires_grad_(False), customized_pruners={EFFU: _Gates()}, verbose=False
        )
    network.train(training)
    for parameter, was in zip(network.parameters(), needed, strict=True):
        parameter.requires_grad_(was)
    _tell_of_pixel_shuffles(graph)
    return graph


def _tell_of_pixel_shuffles(graph: tp.DependencyGraph) -> None:
    """Between a pixel shuffle, numbered as its outputs, and what it reads, one channel is r * r channels."""
    for shuffle in graph.module2node.values():
        if shuffle.grad_fn is None or not shuffle.grad_fn.name().startswith("PixelShuffle"):
            continue
        ratio = shuffle.grad_fn._saved_upscale_factor**2
        for source in shuffle.inputs:
            for before, after, reverse in ((shuffle, source, False), (source, shuffle, True)):
                for dependency in before.dependencies:
                    if dependency.target is after:
                        dependency.index_mapping[0] = _FlattenIndexMapping(stride=ratio, reverse=reverse)


def _group(graph: tp.DependencyGraph, network: nn.Module, name: str, indices: Sequence[int]) -> Any:
    convolution = convolution_of(network, name)
    if indices[-1] >= convolution.out_channels or indices[0] < 0:
        raise ValueError(f"{name} has channels 0 to {convolution.out_channels - 1}, not {indices[0]} to {indices[-1]}")
    return graph.get_pruning_group(convolution, tp.prune_conv_out_channels, list(indices))


def _refuse_too_much(graph: tp.DependencyGraph, name: str, group: Any) -> None:
    if any(dependency.target.type == tp.ops.OPTYPE.OUTPUT for dependency, _ in group):
        raise ValueError(f"{name} makes the network's answer: its channels cannot go")
    if not graph.check_pruning_group(group):
        raise ValueError(f"{name} would lose all its channels: keep one at least")


def _written(graph: tp.DependencyGraph, group: Any) -> Iterator[str]:
    """The convolutions whose outputs a group takes away."""
    for dependency, _ in group:
        module = dependency.target.module
        if isinstance(module, nn.Conv2d) and graph.is_out_channel_pruning_fn(dependency.handler):
            yield graph._module2name[module]


def _is_written_by(graph: tp.DependencyGraph, module: Any) -> bool:
    if isinstance(module, nn.Conv2d):
        return not any(isinstance(node.module, _BatchNorm) for node in graph.module2node[module].outputs)
    return isinstance(module, _BatchNorm)
