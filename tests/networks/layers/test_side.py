"""Side inputs: encoded once, dropped as if never given, seen by the blocks."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sde_diffusion.conditions.condition import ENCODED, LAYOUT, REFERENCE, TEXT, Condition, Part
from sde_diffusion.errors import InputError
from sde_diffusion.networks import UNet

N = 3


@pytest.fixture(scope="module")
def network() -> UNet:
    """No weight at its initial value, so that no branch is closed."""
    torch.manual_seed(0)
    unet = UNet(
        3, [16, 24], 1, [1], 2, 16, head_width=8, text=[20, 6], layout=[4, 5], reference=16,
        text_width=16, text_depth=1,
    ).eval()  # fmt: skip
    for p in unet.parameters():
        p.data += 0.1 * torch.randn_like(p)
    return unet.requires_grad_(False)


def condition(seed: int = 0) -> Condition:
    g = torch.Generator().manual_seed(seed)
    words = torch.randint(1, 20, (N, 6), generator=g)
    words[0, 3:] = 0
    layout = torch.stack([torch.randint(0, k, (N, 16, 16), generator=g) for k in (4, 5)], 1)
    patch = torch.randint(0, 256, (N, 3, 16, 16), generator=g)
    return Condition(
        {
            TEXT: Part.of(words),
            LAYOUT: Part.of(layout.to(torch.uint8)),
            REFERENCE: Part.of(patch.to(torch.uint8)),
        }
    )


def asked(network: UNet, cond: Condition | None) -> Tensor:
    x = torch.randn(N, 3, 16, 16, generator=torch.Generator().manual_seed(9))
    answer: Tensor = network(x, torch.linspace(-1, 1, N), cond)
    return answer


def test_encoded_before_or_within_the_call_is_the_same(network: UNet) -> None:
    cond = condition()
    encoded = network.encode(cond)
    assert any(key.startswith(ENCODED) for key in encoded.parts[TEXT].aside)
    assert network.encode(encoded).parts[TEXT] is encoded.parts[TEXT]
    assert torch.equal(asked(network, encoded), asked(network, cond))
    assert not encoded.raw().parts[TEXT].aside
    rows = torch.tensor([2, 0])
    part = network.encode(cond)[rows].parts[LAYOUT]
    assert torch.equal(
        part.aside["encoded.level1"], encoded.parts[LAYOUT].aside["encoded.level1"][rows]
    )


def test_a_dropped_part_is_as_if_never_given(network: UNet) -> None:
    """1e-5: sums of attention over masked tokens are taken in another order."""
    nothing = asked(network, None)
    assert torch.allclose(asked(network, condition().dropped()), nothing, atol=1e-5)
    for name in (TEXT, LAYOUT, REFERENCE):
        others = Condition({k: p for k, p in condition().parts.items() if k != name})
        left = network.encode(condition()).dropped(None, name)
        assert torch.allclose(asked(network, left), asked(network, others), atol=1e-5)


@pytest.mark.parametrize("name", [TEXT, LAYOUT, REFERENCE])
def test_each_part_reaches_its_row_alone(network: UNet, name: str) -> None:
    one, two = condition(), condition(1)
    value = one.parts[name].value.clone()
    value[1] = two.parts[name].value[1]
    moved = (asked(network, one.with_part(name, Part.of(value))) - asked(network, one)).abs()
    assert float(moved[1].max()) > 1e-3
    assert float(moved[[0, 2]].max()) < 1e-5


def test_words_after_the_end_of_a_sentence_do_not_count(network: UNet) -> None:
    """A shorter table of the same sentence gives the same answer."""
    words = torch.zeros(N, 6, dtype=torch.int64)
    words[:, :2] = torch.tensor([3, 7])
    long, short = (Condition({TEXT: Part.of(words[:, :k])}) for k in (6, 2))
    assert torch.allclose(asked(network, long), asked(network, short), atol=1e-5)
    swapped = Condition({TEXT: Part.of(words[:, [1, 0]])})
    assert float((asked(network, short) - asked(network, swapped)).abs().max()) > 1e-3


def test_the_other_side_is_encoded_too(network: UNet) -> None:
    cond = Condition(condition().parts, condition(1))
    other = network.encode(cond).empty
    assert any(key.startswith(ENCODED) for key in other.parts[TEXT].aside)
    pair = Condition.cat([network.encode(cond), network.encode(cond).empty])
    x = torch.randn(N, 3, 16, 16, generator=torch.Generator().manual_seed(9))
    both = network(torch.cat([x, x]), torch.linspace(-1, 1, N).repeat(2), pair)
    assert torch.allclose(both[N:], asked(network, condition(1)), atol=1e-5)


def test_a_layout_adds_nothing_before_training() -> None:
    torch.manual_seed(0)
    unet = UNet(3, [16, 24], 1, [1], 2, 16, layout=[4, 5])
    for p in unet.head.parameters():
        p.data += 0.1
    cond = Condition({LAYOUT: condition().parts[LAYOUT]})
    assert torch.equal(asked(unet, cond), asked(unet, None))


@pytest.mark.parametrize(
    ("sizes", "key"),
    [
        ({"text": [20]}, "text"),
        ({"layout": [0]}, "layout"),
        ({"reference": 4}, "reference"),
        ({"text": [20, 6], "text_width": 2}, "text_width"),
        ({"text": [20, 6], "magnitude_preserving": True}, "magnitude_preserving"),
    ],
)
def test_sizes_that_make_no_encoder_are_refused(sizes: dict[str, object], key: str) -> None:
    with pytest.raises(InputError, match=rf"network\.{key}.*give"):
        UNet(3, [16], 1, [0], 2, 16, **sizes)  # type: ignore[arg-type]
