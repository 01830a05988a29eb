"""Classes of pixels by masks."""

from itertools import permutations

import pytest
import torch

from earthloom.encoders import Features
from earthloom.errors import ContractError
from earthloom.tasks.classes import IGNORED
from earthloom.tasks.mask_classes import (
    MaskHead,
    OwnLossHead,
    PixelTruth,
    _chip_loss,
    _Segments,
    matched,
)

CLASSES, CHANNELS = 3, 5


def made(**changes):
    torch.manual_seed(0)
    settings = {"queries": 6, "width": 16, "layers": 2, "heads": 2} | changes
    return MaskHead(CHANNELS, CLASSES, **settings)


def features_of(index, stride=1):
    """Features that show the class, on a coarser grid where a stride says so."""
    generator = torch.Generator().manual_seed(1)
    shown = torch.nn.functional.one_hot(index.clamp(min=0), CHANNELS).movedim(-1, 1).float()
    shown = shown + 0.05 * torch.randn(shown.shape, generator=generator)
    pixels = torch.nn.functional.avg_pool2d(shown, stride)
    return Features(pixels, torch.ones_like(pixels[:, 0], dtype=torch.bool), stride=stride)


def stripes(chips=4, side=12):
    index = torch.arange(side).expand(chips, side, side) // 4
    return torch.stack([plane.rot90(number) for number, plane in enumerate(index)])


def truth_of(index, **more):
    return PixelTruth(index, torch.ones(CLASSES), **more)


def test_shares_sum_to_one_at_any_size():
    head = made()
    for rows, cols in ((1, 1), (7, 40), (16, 16)):
        logs = head(torch.randn(2, CHANNELS, rows, cols))
        assert logs.shape == (2, CLASSES, rows, cols)
        assert logs.dtype == torch.float32
        torch.testing.assert_close(logs.exp().sum(dim=1), torch.ones(2, rows, cols))
        # So that who takes a softmax of logits gets the shares.
        torch.testing.assert_close(logs.softmax(dim=1), logs.exp())


@pytest.mark.parametrize("stride", [1, 2])
def test_learns_stripes_by_heart(stride):
    head, index = made(layers=1), stripes(chips=2)
    features = features_of(index, stride)
    index[:, ::3] = IGNORED
    optimiser = torch.optim.AdamW(head.parameters(), lr=3e-3)
    for _ in range(120):
        optimiser.zero_grad()
        head.loss(features, truth_of(index)).backward()
        optimiser.step()
    found = features.on_base_grid(head(features.pixels)).argmax(dim=1)
    known = index != IGNORED
    assert (found == index)[known].float().mean() > 0.97
    again = MaskHead(**head.config())
    again.load_state_dict(head.state_dict())
    assert torch.equal(head(features.pixels), again(features.pixels))
    assert isinstance(again, OwnLossHead)


def test_the_order_of_queries_changes_nothing():
    head, index = made(), stripes()
    features = features_of(index)
    before, loss = head(features.pixels), head.loss(features, truth_of(index))
    with torch.no_grad():
        head.queries.copy_(head.queries.flip(0))
    torch.testing.assert_close(head(features.pixels), before)
    torch.testing.assert_close(head.loss(features, truth_of(index)), loss)


def test_matching_is_the_best_of_all():
    generator = torch.Generator().manual_seed(2)
    for _ in range(5):
        classes = torch.randn(4, CLASSES + 1, generator=generator)
        masks = 2 * torch.randn(4, 9, generator=generator)
        index = torch.arange(9) % CLASSES
        segments = _Segments(
            torch.arange(CLASSES),
            (index == torch.arange(CLASSES)[:, None]).float(),
            torch.tensor([1.0, 1.0, 1.0, 0.1]),
            torch.ones(9),
        )
        rows, cols = matched(classes, masks, segments)
        best = min(
            permutations(range(4), CLASSES),
            key=lambda chosen: _cost(classes, masks, segments, chosen),
        )
        assert dict(zip(cols.tolist(), rows.tolist(), strict=True)) == dict(enumerate(best))


def _cost(classes, masks, segments, chosen):
    """The sum of costs where segment i has query chosen[i], written out from the paper."""
    total = 0.0
    for segment, query in enumerate(chosen):
        share, truth = masks[query].sigmoid(), segments.masks[segment]
        right = torch.where(truth == 1, share, 1 - share)
        alpha = torch.where(truth == 1, 0.25, 0.75)
        focal = (-alpha * (1 - right) ** 2 * right.log()).mean()
        dice = 1 - (2 * (share * truth).sum() + 1) / (share.sum() + truth.sum() + 1)
        total += 20 * focal + dice - classes[query].softmax(dim=0)[segment]
    return float(total)


def test_the_loss_of_a_perfect_answer_is_almost_nothing():
    index = torch.arange(9) % CLASSES
    masks = (index == torch.arange(CLASSES)[:, None]).float()
    weights = torch.tensor([1.0, 1.0, 1.0, 0.1])
    segments = _Segments(torch.arange(CLASSES), masks, weights, torch.ones(9))
    # A fourth query stands for nothing, and whatever its mask is costs nothing.
    logits = 20 * torch.eye(4)
    said = torch.cat([40 * masks - 20, torch.randn(1, 9)])
    assert _chip_loss(logits, said, segments) < 1e-4
    assert _chip_loss(logits.roll(1, 0), said, segments) > 1


def test_a_pixel_of_weight_two_is_the_same_pixel_twice():
    head, index = made(layers=1), stripes(chips=1)
    features = features_of(index)
    counts = torch.ones_like(index).float()
    counts[:, :6] = 2
    weighed = head.loss(features, truth_of(index, counts=counts))
    half = head.loss(features, truth_of(index, counts=counts / 2))
    plain = head.loss(features, truth_of(index))
    torch.testing.assert_close(weighed, half, rtol=0.05, atol=0)
    assert abs(weighed - plain) > 1e-4


def test_pixels_without_a_label_play_no_part():
    head, index = made(), stripes()
    features = features_of(index)
    counts = torch.ones_like(index).float()
    counts[:, :4] = 0
    hidden = index.masked_fill(counts == 0, IGNORED)
    torch.testing.assert_close(
        head.loss(features, truth_of(index, counts=counts)), head.loss(features, truth_of(hidden))
    )
    chips = index.clone()
    chips[2:] = IGNORED
    some = Features(features.pixels[:2], features.seen[:2])
    torch.testing.assert_close(
        head.loss(features, truth_of(chips)), head.loss(some, truth_of(index[:2]))
    )


def test_nothing_to_learn_is_no_loss_with_a_gradient():
    head, index = made(), torch.full((2, 8, 8), IGNORED)
    loss = head.loss(features_of(index), truth_of(index))
    loss.backward()
    assert loss == 0
    assert all((p.grad == 0).all() for p in head.parameters() if p.grad is not None)
    assert head.queries.grad is not None


def test_what_does_not_fit_is_refused():
    with pytest.raises(ContractError, match="2 queries cannot stand for 3 classes"):
        made(queries=2)
    with pytest.raises(ContractError, match="16 is no multiple of 3"):
        made(heads=3)
