"""``Model.edit`` is the command: by its law on Gaussians, by equality, by what it refuses."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from sde_diffusion import DDRM, DPS, Box, Downsample, GaussianBlur, Heun, Mask, PiGDM, load, wrap
from sde_diffusion.config.words import with_method
from sde_diffusion.errors import InputError
from tests.conftest import Run
from tests.refusals import refused

SHAPE = (1, 8, 8)
GREY = torch.randint(0, 256, SHAPE, dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
ANEW = torch.zeros(8, 8, dtype=torch.bool)
ANEW[2:5, 3:8] = True


def narrow(x: Tensor, sigma: Tensor) -> Tensor:
    """D of N(0, 0.25 I)."""
    return x * 0.25 / (0.25 + sigma**2)


MODEL = wrap(narrow, SHAPE, name="narrow")


def test_a_notebook_shows_draws_mean_and_deviations() -> None:
    """And not the tensors."""
    edited = MODEL.edit(GREY, mask=ANEW, n=2, nfe=4, method="ddrm")
    assert re.fullmatch(r"Edited\(2 of 1 x 8 x 8, misfit 0, [\d.]+ s\)", repr(edited))
    shown = edited._repr_png_()
    assert shown is not None
    with Image.open(io.BytesIO(shown)) as picture:
        cells = np.array(picture)[::24, ::24][:, :35]  # magnified 24 times, one pixel between
    assert picture.size == (24 * (4 * 9 - 1), 24 * 8)
    assert (cells[:, :8] == edited.images[0, 0].numpy()).all()
    assert MODEL.edit(GREY, simulate=True, mask=ANEW, n=1, nfe=2)._repr_png_() is not None
    broken = replace(edited, samples=replace(edited.samples, x=edited.x * float("nan")))
    assert broken._repr_png_() is None


def test_unknown_pixels_have_the_law_of_the_prior_and_known_ones_stay() -> None:
    edited = MODEL.edit(GREY, mask=ANEW, n=200, nfe=100, method="pigdm")
    assert (edited.images[:, :, ~ANEW] == GREY[:, ~ANEW]).all()
    unknown = edited.samples.x[:, 0, ANEW]
    assert unknown.std().item() == pytest.approx(0.5, rel=0.05)  # 3000 numbers: +- 0.006
    assert abs(unknown.mean().item()) < 0.03
    assert edited.misfit.abs().max() == 0
    assert (edited.std[:, ~ANEW] == 0).all()


def test_the_mean_of_a_linear_measurement_is_the_gaussian_one() -> None:
    y = torch.full((1, 4, 4), 0.4)
    operator = Downsample(2, noise=0.1)
    edited = MODEL.edit(y, operator=operator, method="pigdm", guidance__pigdm__variance=0.25,
                        solver="heun", n=300, nfe=80)  # fmt: skip
    v = 0.25 / 4  # of a block's mean
    exact = 0.4 * v / (v + 0.1**2)
    assert edited.mean.mean().item() == pytest.approx(exact, abs=0.02)
    assert edited.damaged.shape == SHAPE


def test_objects_names_and_the_command_are_one(
    quick_cli: Run, tmp_path: Path, tiny_model: str
) -> None:
    Image.fromarray(GREY[0].numpy()).save(tmp_path / "a.png")
    Image.fromarray(ANEW.numpy().astype(np.uint8) * 255).save(tmp_path / "m.png")
    words = f"checkpoint={tiny_model} image=a.png mask=m.png n=2 nfe=4 hydra.run.dir=out"
    quick_cli("edit", *words.split(), "solver.eta=0.5")
    with np.load(tmp_path / "out" / "a.npz") as file:
        typed = torch.from_numpy(file["images"]).permute(0, 3, 1, 2)
    model = load(tiny_model)
    by_name = model.edit(tmp_path / "a.png", tmp_path / "m.png", n=2, nfe=4, solver__eta=0.5,
                         solver="ddrm")  # fmt: skip
    by_object = model.edit(GREY, ANEW, solver=DDRM(Mask(), eta=0.5), n=2, nfe=4)
    assert torch.equal(by_name.images, typed)
    assert torch.equal(by_object.images, typed)
    place = by_object.save(tmp_path / "kept", "b")
    assert {p.name for p in place.iterdir()} == {"b-1.png", "b-2.png", "b-mean.png", "b-std.png"}


def test_a_seed_keeps_its_picture_in_any_batch() -> None:
    several = MODEL.edit(GREY, mask=ANEW, seeds=[3, 4, 5], nfe=6, batch_size=2)
    alone = MODEL.edit(GREY, mask=ANEW, seeds=[5], nfe=6)
    assert torch.equal(several.samples.x[2:], alone.samples.x)


def test_where_nothing_says_how_known_pixels_are_drawn_to_by_repaint() -> None:
    """In twenty steps of four evaluations, by the command too; with a word about it by DDRM."""
    assert MODEL.edit(GREY, ANEW, n=1).samples.nfe == 80
    assert MODEL.edit(GREY, ANEW, n=1, denoise_last=True).samples.nfe == 81
    assert MODEL.edit(GREY, ANEW, n=1, solver="repaint", solver__repeats=3).samples.nfe == 60
    for wishes in ({"nfe": 20}, {"solver__eta": 0.5}, {"operator": Mask(0.1)}):
        assert MODEL.edit(GREY, ANEW, n=1, **wishes).samples.nfe == 20
    assert MODEL.edit(GREY, operator=Box(), simulate=True, n=1).samples.nfe == 20
    typed = ["task=edit", "mask=m.png"]
    assert with_method(typed) == [*typed, "method=repaint"]
    for more in ("nfe=20", "solver.eta=0.5", "operator.noise=0.1", "operator=box", "method=dps",
                 "guidance=[cfg]", "sampler='Euler a'"):  # fmt: skip
        assert with_method([*typed, more]) == [*typed, more]
    assert with_method(["task=sample"]) == ["task=sample"]


def test_strength_begins_at_the_picture() -> None:
    bright = torch.full(SHAPE, 0.9)
    near = MODEL.edit(bright, mask=ANEW, strength=0.05, n=50, nfe=10).samples.x[:, 0, ANEW].mean()
    far = MODEL.edit(bright, mask=ANEW, strength=1.0, n=50, nfe=10).samples.x[:, 0, ANEW].mean()
    assert near > 0.6
    assert abs(far) < 0.1


def test_a_function_is_an_operator_and_depth_is_kept() -> None:
    edited = MODEL.edit(torch.zeros(1, 8, 8), operator=lambda x: x.flip(-1), n=2, nfe=4)
    assert edited.misfit.shape == (2,)
    deep = GREY.to(torch.int32) * 257
    assert MODEL.edit(deep, mask=ANEW, n=1, nfe=2).white == 65535


def test_what_does_not_go_together_is_refused() -> None:
    with refused("mask", "give mask="):
        MODEL.edit(GREY)
    with refused("mask: 4 x 4", "8 x 8"):
        MODEL.edit(GREY, mask=ANEW[:4, :4])
    with refused("mask: values", "give"):
        MODEL.edit(GREY, mask=ANEW.float() - 0.5)
    with refused("method=dprm", "ddrm"):
        MODEL.edit(GREY, mask=ANEW, method="dprm")
    with refused("method", "ddrm"):
        MODEL.edit(GREY, mask=ANEW, solver=Heun())
    with refused("image", "finite"):
        MODEL.edit(torch.full(SHAPE, torch.nan), mask=ANEW)
    with refused("strength", "0 < strength"):
        MODEL.edit(GREY, mask=ANEW, strength=0.0)
    with refused("masc", "mask"):
        MODEL.edit(GREY, masc=ANEW)
    with refused("checkpoint", "pixels"):
        wrap(narrow, (3,)).edit(torch.zeros(3), mask=ANEW)


def test_numbers_of_another_scale_are_refused() -> None:
    """Of 0 to 255, say: they were clipped to white, or inverted, and nothing was said."""
    loud = GREY.float()
    for wishes in ({"mask": ANEW}, {"operator": Box(), "simulate": True}):
        with refused("image: values up to", "uint8"):
            MODEL.edit(loud, **wishes)
    for operator in (GaussianBlur(1.5), lambda x: 3 * x.flip(-1)):
        with refused("image: its numbers", "scale them"):
            MODEL.edit(loud, operator=operator)
    with refused("image: its numbers", "scale them"):
        MODEL.edit(loud[:, ::2, ::2], operator=Downsample(2))
    overshot = MODEL.sample(n=1, nfe=8).x[0]
    assert MODEL.edit(3 * overshot, operator=lambda x: 3 * x.flip(-1), n=1, nfe=40).misfit < 3


def test_odd_arguments_are_one_line() -> None:
    with refused("mask: shape (0, 0)", "give"):
        MODEL.edit(GREY, mask=np.zeros((0, 0)))
    with refused("image: true and false", "give"):
        MODEL.edit(GREY > 3, mask=ANEW)
    with refused("extend=[3]", "TOP"):
        MODEL.edit(GREY, extend=3)
    with refused("method=['ddrm']", "ddrm"):
        MODEL.edit(GREY, mask=ANEW, method=["ddrm"])
    for function in (lambda x: None, lambda x: x[0], lambda x: x.sum()):
        with pytest.raises(InputError, match=r"operator__function: .* as many rows as x"):
            MODEL.edit(GREY, operator=function)
    picture = Image.fromarray(GREY[0].numpy())
    plain = MODEL.edit(GREY, mask=ANEW, extend=None, n=1, nfe=2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # torch's, of arrays that may not be written
        assert torch.equal(MODEL.edit(picture, mask=ANEW, n=1, nfe=2).images, plain.images)


def test_an_object_brings_its_operator() -> None:
    truth = torch.linspace(-1, 1, 64).reshape(SHAPE)
    for parts in ({"solver": DDRM(Box(0.5))}, {"guidance": [PiGDM(Box(0.5))]},
                  {"guidance": DPS(Box(0.5), scale=0.1)}):  # fmt: skip
        edited = MODEL.edit(truth, simulate=True, n=2, nfe=4, **parts)
        assert edited.damaged.y[0, 4, 4] == 0  # the box
        assert edited.psnr is not None


def test_a_negative_that_nothing_leads_away_from_is_refused() -> None:
    model, image = load("shapes"), np.zeros((3, 32, 32), dtype=np.uint8)
    hole = np.zeros((32, 32), dtype=bool)
    hole[8:16, 8:16] = True
    wishes = {"mask": hole, "prompt": "a red circle", "negative": "a blue square"}
    with pytest.raises(InputError, match=r"negative=.*method=\"ddrm\", guidance=\"cfg\""):
        model.edit(image, n=1, nfe=2, **wishes)
    drawn = model.edit(image, n=1, nfe=4, method="ddrm", guidance="cfg", **wishes)
    assert drawn.samples.nfe == 4


def test_pictures_of_pillow_are_read_as_files_are() -> None:
    """Of any mode, and upright; the twin took the raw array, whose third side is no width."""
    colours = wrap(narrow, (3, 8, 8), name="colours")
    array = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    plain = colours.edit(array.transpose(2, 0, 1), mask=ANEW, n=1, nfe=2).images
    shown = Image.fromarray(array)
    turned = Image.fromarray(np.asarray(shown.transpose(Image.Transpose.ROTATE_90)))
    turned.getexif()[0x0112] = 6
    for image in (shown, shown.convert("RGBA"), turned):
        assert torch.equal(colours.edit(image, mask=ANEW, n=1, nfe=2).images, plain)
    grey = MODEL.edit(GREY, mask=ANEW, n=1, nfe=2)
    deep = Image.fromarray(GREY[0].numpy().astype(np.uint16) * 257)
    for image in (deep, Image.fromarray(GREY[0].numpy()).convert("LA")):
        assert torch.equal(MODEL.edit(image, mask=ANEW, n=1, nfe=2).images, grey.images)
    white = Image.fromarray(ANEW.numpy()).convert("P")
    assert torch.equal(MODEL.edit(GREY, mask=white, n=1, nfe=2).images, grey.images)
    one = colours.edit(GREY[0].numpy(), mask=ANEW, n=1, nfe=2).images
    assert torch.equal(one[0, 0][~ANEW], GREY[0][~ANEW])


@pytest.mark.parametrize(
    "cast",
    [
        lambda x: x.numpy().astype(">f4"),
        lambda x: x.numpy().astype(np.longdouble),
        lambda x: x.clone().requires_grad_(),
        lambda x: ((x + 1) * 127.5).round().to(torch.int32).numpy().astype(np.uint16) * 257,
    ],
)
def test_numbers_of_any_type_are_the_same_picture(cast: Callable[[Tensor], object]) -> None:
    x = GREY.float() / 127.5 - 1
    plain = MODEL.edit(x, mask=ANEW, n=1, nfe=2).images
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(MODEL.edit(cast(x), mask=ANEW, n=1, nfe=2).images, plain)


@pytest.mark.parametrize(
    ("image", "says"),
    [
        (GREY.float() / 255, "none negative; give 2 * x - 1"),
        ((GREY > 9).int(), "whole numbers 0 .. 1; give"),
        (GREY.permute(1, 2, 0), "(8, 8, 1), channels last; give channels first"),
        (GREY[None], "1 of them; give one at a time, x[0]"),
        (GREY.float().to_sparse(), "sparse_coo; give a path"),
        (torch.zeros(SHAPE, device="meta"), "without numbers; give a path"),
        (Image.new("F", (8, 8)), "floats of 32 bits; convert it"),
    ],
)
def test_arrays_that_are_no_picture_are_one_line(image: object, says: str) -> None:
    with refused("image: ", says):
        MODEL.edit(image, mask=ANEW, n=1, nfe=2)


def test_a_mask_whose_white_is_none_is_told_so(tmp_path: Path) -> None:
    """Saved as 0 and 1 of 255, it was black everywhere, and one was told to paint."""
    with refused("mask: values 0 .. 2", "0 .. 255"):
        MODEL.edit(GREY, mask=2 * ANEW.int())
    Image.fromarray(ANEW.numpy().astype(np.uint8)).save(tmp_path / "m.png")
    with refused(f"mask={tmp_path / 'm.png'}: m is black", "level 1 of 255", "save it with 255"):
        MODEL.edit(GREY, mask=tmp_path / "m.png")


FUNCTIONS: dict[str, tuple[Callable[[Tensor], object], str]] = {
    # These drew another picture without a word.
    "the mean of all rows": (lambda x: x - x.mean(), "keep rows apart"),
    "other rows": (lambda x: x.flip(0), "keep rows apart"),
    "one answer for all": (lambda x: x.mean(0, keepdim=True).expand_as(x), "keep rows apart"),
    # And these ended in an error of torch.
    "chance": (lambda x: x + torch.randn_like(x), "leave noise to operator__noise"),
    "truth": (lambda x: x > 0, "torch.bool; return floats"),
    "complex": (lambda x: torch.fft.fft2(x), "torch.view_as_real(answer)"),
    "a number a row": (lambda x: x.flatten(1).sum(1), "answer[:, None]"),
    "nothing": (lambda x: x[..., :0], "it answered (2, 1, 8, 0)"),
    "sparse": (lambda x: x.to_sparse(), "return a dense tensor"),
    "detached": (lambda x: 0.5 * x.detach(), "leave detach"),
    "of two": (lambda x, s: x, "it is called as A(x)"),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_that_is_no_operator_is_one_line(name: str) -> None:
    function, says = FUNCTIONS[name]
    with refused("operator__function: ", says):
        MODEL.edit(GREY, operator=function, simulate=True, n=1, nfe=2)


def test_a_function_may_write_to_its_argument_and_be_a_module() -> None:
    given = {"simulate": True, "n": 2, "nfe": 4}
    plain = MODEL.edit(GREY, operator=lambda x: 0.5 * x, **given)
    assert torch.equal(MODEL.edit(GREY, operator=lambda x: x.mul_(0.5), **given).x, plain.x)
    layer = nn.Conv2d(1, 1, 1, bias=False).requires_grad_(False)
    layer.weight.fill_(0.5)
    assert torch.allclose(MODEL.edit(GREY, operator=layer, **given).x, plain.x, atol=1e-5)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (GREY.float() / 255, "none negative; give 2 * x - 1"),
        ((GREY > 9).int(), "whole numbers 0 .. 1; give"),
        (GREY > 9, "true and false; give"),
    ],
)
def test_a_start_and_an_image_to_encode_are_of_the_same_scale(given: Tensor, says: str) -> None:
    """Of 0 to 1, floats were grey to white, and whole numbers all black."""
    with refused("start: ", says):
        MODEL.sample(1, 4, start=given, strength=0.5)
    with refused("images: ", says):
        MODEL.encode(given[None])
    begun = [
        MODEL.sample(1, 4, start=each, strength=0.5).x
        for each in (GREY, Image.fromarray(GREY[0].numpy()).convert("RGBA"))
    ]
    assert torch.allclose(*begun, atol=1e-5)


def test_a_flat_measurement_is_that_of_its_operator() -> None:
    """A sinogram was made a picture of, of which nothing was a measurement."""
    truth = GREY.float() / 127.5 - 1
    made = MODEL.edit(truth, operator="parallel_beam", simulate=True, n=1, nfe=4).damaged.y
    assert made.ndim == 2
    given = MODEL.edit(made, operator="parallel_beam", n=1, nfe=4)
    assert torch.equal(given.damaged.y, made)
    blurred = MODEL.edit(truth[0], operator="gaussian_blur", n=1, nfe=4)
    assert blurred.damaged.shape == SHAPE


def test_channels_are_brought_together_or_named() -> None:
    """Of three for one, it said that the picture was too small, and to extend it."""
    plain = MODEL.edit(GREY, mask=ANEW, n=1, nfe=2).images
    assert torch.equal(MODEL.edit(GREY.repeat(3, 1, 1), mask=ANEW, n=1, nfe=2).images, plain)
    colours = wrap(narrow, (3, 8, 8), name="colours")
    assert (colours.edit(GREY, mask=ANEW, n=1, nfe=2).images[0][:, ~ANEW] == GREY[0][~ANEW]).all()
    for model, image in ((MODEL, torch.stack([GREY[0], 255 - GREY[0], GREY[0]])),
                         (colours, GREY.repeat(4, 1, 1))):  # fmt: skip
        with refused("image: (", "channels, and the model draws", "give a picture of as many"):
            model.edit(image, mask=ANEW, n=1, nfe=2)


def test_masks_of_any_depth_are_masks_or_one_line() -> None:
    plain = MODEL.edit(GREY, mask=ANEW, n=1, nfe=2).images
    deep = ANEW.numpy().astype(np.uint16) * 65535
    for mask in (deep, Image.fromarray(deep)):
        assert torch.equal(MODEL.edit(GREY, mask=mask, n=1, nfe=2).images, plain)
    for mode in ("I", "F"):
        with refused(f"mask: mode {mode}", "convert it to 8 bits"):
            MODEL.edit(GREY, mask=Image.new(mode, (8, 8)), n=1, nfe=2)


def test_a_start_may_be_a_picture_without_channels() -> None:
    """Its rows were taken for as many pictures."""
    begun = [MODEL.sample(1, 4, start=each, strength=0.5).x for each in (GREY, GREY[0])]
    assert torch.equal(*begun)
    colours = wrap(narrow, (3, 8, 8), name="colours")
    begun = [
        colours.sample(1, 4, start=each, strength=0.5).x for each in (GREY[0], GREY.repeat(3, 1, 1))
    ]
    assert torch.equal(*begun)
    with refused("images: shape", "give [N, 1, 8, 8]"):
        MODEL.encode(GREY[0])
