"""Which parameters are trained, and at which rate: by their depth, away from the head."""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn
from torch.nn import Parameter

from earthloom.encoders import Encoder
from earthloom.tasks.heads import Head


@dataclass(frozen=True)
class Group:
    """Parameters that are trained alike."""

    parameters: tuple[Parameter, ...]
    lr_scale: float
    """Their share of the learning rate."""
    decays: bool
    """Whether weight decay pulls at them: not at norms and biases."""


def depths(encoder: Encoder) -> dict[str, int]:
    """How many steps away from the head each parameter of the encoder lies, by name; 1 is next to
    it.

    What comes before the first block is one deeper than that; what follows a block outside of any
    is as deep as that block. Without blocks all is 1 deep.
    """
    blocks = encoder.blocks
    own = {
        id(parameter): len(blocks) - number
        for number, block in enumerate(blocks)
        for parameter in block.parameters()
    }
    found, depth = {}, len(blocks) + 1
    for name, parameter in encoder.named_parameters():
        depth = own.get(id(parameter), depth)
        found[name] = depth
    return found


def parameter_groups(encoder: Encoder, head: Head, layer_decay: float) -> tuple[Group, ...]:
    """All that is trained, the head first, then by depth.

    Layer-wise decay of the rate is by Howard and Ruder (2018), as in Bao et al. (2022), "BEiT".
    """
    deep = depths(encoder)
    sorted_by: dict[tuple[int, bool], list[Parameter]] = {}
    for depth, parameter in _with_depth(encoder, head, deep):
        if parameter.requires_grad:
            decays = parameter.ndim > 1
            sorted_by.setdefault((depth, not decays), []).append(parameter)
    return tuple(
        Group(tuple(parameters), layer_decay**depth, not plain)
        for (depth, plain), parameters in sorted(sorted_by.items(), key=lambda item: item[0])
    )


def trains(module: nn.Module) -> bool:
    """Whether any parameter of a module is trained."""
    return any(parameter.requires_grad for parameter in module.parameters())


def set_mode(module: nn.Module) -> None:
    """Training mode, but evaluation mode for what is frozen: running means must not move, nor
    dropout play, in a part that does not learn."""
    module.train()
    for part in module.modules():
        if not trains(part) and any(True for _ in part.parameters()):
            part.eval()


def _with_depth(
    encoder: Encoder, head: Head, deep: dict[str, int]
) -> Iterator[tuple[int, Parameter]]:
    for parameter in head.parameters():
        yield 0, parameter
    for name, parameter in encoder.named_parameters():
        yield deep[name], parameter
