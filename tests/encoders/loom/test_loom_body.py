"""What pixels and their surroundings say together."""

import pytest
import torch
import torch.nn.functional as F

from earthloom.encoders.loom.body import Body, Head
from earthloom.encoders.loom.sizes import SIZES


@pytest.mark.parametrize(("count", "pixels"), [(2, 7), (5, 1), (1, 1)])
def test_the_head_adds_what_pixels_say_to_what_they_say_among_others(count, pixels):
    random = torch.Generator().manual_seed(0)
    head = Head(3, 5, 4, 6).double()
    own, around = (
        torch.randn(count, pixels, width, generator=random, dtype=torch.float64) for width in (3, 4)
    )
    met = F.relu(head.fine(own) + around)
    expected = head.last(met) + head.straight(own)
    torch.testing.assert_close(head(own, around, head.weights(None)), expected)
    with torch.no_grad():
        torch.testing.assert_close(head(own, around, head.weights(None)), expected)


def test_mixed_weights_patch_what_pixels_are_mixed_to():
    size = SIZES["tiny"]
    body = Body(6, size.stages, 4, size.ratio, size.up)
    random = torch.Generator().manual_seed(0)
    pixels, mixing = (torch.randn(each, generator=random) for each in ((2, 8, 12, 3), (6, 3)))
    mixed = torch.einsum("gc,bhwc->bhwg", mixing, pixels)
    plain = body.patched(mixed, body.weight(None))
    assert plain.shape == (2, 2, 3, size.stages[0].width)
    found = body.patched(pixels, body.weight(mixing))
    torch.testing.assert_close(found, plain, atol=1e-5, rtol=1e-4)
    # Beyond the edge there is nothing.
    cut = body.patched(mixed[:, :7, :10], body.weight(None))
    empty = mixed.clone()
    empty[:, 7:] = 0
    empty[:, :, 10:] = 0
    torch.testing.assert_close(cut, body.patched(empty, body.weight(None)))
