"""Changes of low rank to the matrices of a network (Hu et al. 2022, "LoRA").

A matrix W that is frozen becomes W + (alpha / rank) B A with B and A trained, by torch's own
parametrisations: whatever reads the weight reads the changed one, and no module is replaced. B is 0
at first, so that training starts at the encoder as it is.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import final

from torch import Tensor, nn
from torch.nn.utils.parametrize import (
    is_parametrized,
    register_parametrization,
    remove_parametrizations,
)

from earthloom.errors import ContractError, choices

MATRICES: Mapping[type[nn.Module], str] = {
    nn.Linear: "weight",
    nn.Conv2d: "weight",
    nn.MultiheadAttention: "in_proj_weight",
}
"""Modules that hold a matrix, and its name. A filter of several pixels is the matrix (out,
in x rows x columns)."""
_NAMED = 12
"""Names of modules that an error lists."""


@final
class LowRank(nn.Module):
    """Adds a change of low rank to a weight of any shape whose first axis is what comes out."""

    def __init__(self, weight: Tensor, rank: int, alpha: float) -> None:
        """`weight` (out, ...) says shape, type and device; A is drawn from torch's generator."""
        super().__init__()
        rows, cols = weight.shape[0], weight[0].numel()
        kept = min(rank, rows, cols)
        self.scale = alpha / rank
        self.down = nn.Parameter(weight.new_empty(kept, cols))
        """A, (rank, in)."""
        self.up = nn.Parameter(weight.new_zeros(rows, kept))
        """B, (out, rank)."""
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))

    def forward(self, weight: Tensor) -> Tensor:
        """(out, ...) the weight with its change."""
        change = (self.up @ self.down).reshape(weight.shape)
        return weight + self.scale * change.to(weight.dtype)


def add_low_rank(
    network: nn.Module, rank: int, alpha: float, layers: Sequence[str] = ("*",)
) -> None:
    """Gives every matrix of the modules that any of the patterns names a change that is trained.

    The matrices themselves keep their `requires_grad`. Depthwise filters are passed over: they are
    as small as a change of them. ContractError if no module is meant, or the rank is below 1.
    """
    if rank < 1:
        raise ContractError(f"the rank of a change is {rank}; valid are 1 and above")
    found = dict(_holders(network))
    meant = [name for name in found if any(fnmatchcase(name, each) for each in layers)]
    if not meant:
        names = list(found)
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        valid = f"{choices(names[:_NAMED])}{more}" if names else "none, for it has no matrix"
        raise ContractError(
            f"no layer of the network is named like {choices(layers)}; its layers are: {valid}"
        )
    for name in meant:
        holder, weight = found[name]
        change = LowRank(getattr(holder, weight).detach(), rank, alpha)
        register_parametrization(holder, weight, change)


def merge_low_rank(network: nn.Module) -> None:
    """Adds all changes to their matrices, in place; what is left is the network as it was made."""
    for module in list(network.modules()):
        for weight in set(MATRICES.values()):
            if is_parametrized(module, weight) and _is_changed(module, weight):
                remove_parametrizations(module, weight, leave_parametrized=True)


def _holders(network: nn.Module) -> Iterator[tuple[str, tuple[nn.Module, str]]]:
    """Name of each module with a matrix that has no parametrisation of another kind, the module,
    and the matrix's name."""
    for name, module in network.named_modules():
        for kind, weight in MATRICES.items():
            if not isinstance(module, kind) or is_parametrized(module, weight):
                continue
            grouped = isinstance(module, nn.Conv2d) and module.groups > 1
            if not grouped and isinstance(getattr(module, weight), Tensor):
                yield name, (module, weight)


def _is_changed(module: nn.Module, weight: str) -> bool:
    parametrised = module.parametrizations
    assert isinstance(parametrised, nn.ModuleDict)
    changes = parametrised[weight]
    assert isinstance(changes, nn.ModuleList)
    return isinstance(changes[0], LowRank)
