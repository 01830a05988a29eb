"""What pixels and their surroundings say together."""

import torch
import torch.nn.functional as F

from earthloom.encoders.loom.body import Body, Head
from earthloom.encoders.loom.sizes import SIZES


def test_the_way_back_through_the_head_is_that_of_its_products():
    random = torch.Generator().manual_seed(0)
    head = Head(3, 5, 4, 6).double()
    pixels, around = (
        torch.randn(size, generator=random, dtype=torch.float64, requires_grad=True)
        for size in ((2, 3, 7), (2, 7, 4))
    )
    weights = head.weights(None)
    made = head(pixels, around, weights)
    met = F.relu(pixels.mT @ weights[0].T + around)
    expected = head.last(met).mT + weights[1] @ pixels
    torch.testing.assert_close(made, expected)
    with torch.no_grad():
        torch.testing.assert_close(head(pixels, around, weights), expected)
    inputs = (pixels, around, *weights, head.last.weight)
    wanted = torch.randn(made.shape, generator=random, dtype=torch.float64)
    found, right = (torch.autograd.grad((each * wanted).sum(), inputs) for each in (made, expected))
    for one, other in zip(found, right, strict=True):
        torch.testing.assert_close(one, other)


def test_mixed_weights_patch_what_pixels_are_mixed_to():
    size = SIZES["tiny"]
    body = Body(6, size.stages, 4, size.ratio, size.up)
    random = torch.Generator().manual_seed(0)
    pixels, mixing = (torch.randn(each, generator=random) for each in ((2, 3, 8, 12), (6, 3)))
    mixed = torch.einsum("gc,bchw->bghw", mixing, pixels)
    plain = body.patched(mixed, body.weight(None))
    assert plain.shape == (2, size.stages[0].width, 2, 3)
    found = body.patched(pixels, body.weight(mixing))
    torch.testing.assert_close(found, plain, atol=1e-5, rtol=1e-4)
    # Beyond the edge there is nothing.
    cut = body.patched(mixed[..., :7, :10], body.weight(None))
    empty = mixed.clone()
    empty[..., 7:, :] = 0
    empty[..., 10:] = 0
    torch.testing.assert_close(cut, body.patched(empty, body.weight(None)))
