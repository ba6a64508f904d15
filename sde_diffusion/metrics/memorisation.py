"""Are generated images nearer to training images than unseen real ones are?"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from sde_diffusion.errors import InputError
from sde_diffusion.metrics.pairwise import nearest
from sde_diffusion.metrics.stats import checked


@dataclass(frozen=True)
class Memorisation:
    """Distances to the nearest training image, generated against held out.

    Attributes:
        ratio: median distance of the generated over that of the held-out images: 1 is what
            images from the true law would have, much less is a sign of copies.
        fraction: share of the generated that are nearer than ``quantile`` of the held out are;
            ``quantile`` itself is what the true law would give. quantile: as asked.
        pairs: (generated, training, distance) of the nearest, nearest first: the pairs to look at.
    """

    ratio: float
    fraction: float
    quantile: float
    pairs: list[tuple[int, int, float]]


def memorisation(
    features: Tensor, held_out: Tensor, training: Tensor, quantile: float = 0.05, pairs: int = 10
) -> Memorisation:
    """Features [N, d] of generated, [M, d] of held-out real, [T, d] of the training images.

    As in arXiv 2004.05675, by distances in feature space, where the held-out images give the
    scale. InputError for different d, a quantile outside 0 .. 1, or held-out images that were
    trained on.
    """
    features, held_out, training = (
        checked(x, key)
        for x, key in ((features, "features"), (held_out, "held out"), (training, "training"))
    )
    widths = {x.shape[1] for x in (features, held_out, training)}
    if len(widths) > 1 or 0 in map(len, (features, held_out, training)):
        raise InputError(
            f"training: features {tuple(training.shape)}, held out {tuple(held_out.shape)}, "
            f"images {tuple(features.shape)}; give some of each, by one extractor"
        )
    if not 0 < quantile < 1:
        raise InputError(f"quantile={quantile}: give a number between 0 and 1")
    x, real, train = (f - training.mean(0) for f in (features, held_out, training))
    squared, places = (column[:, 0] for column in nearest(x, train))
    ours, unseen = squared.sqrt(), nearest(real, train)[0][:, 0].sqrt()
    scale = float(unseen.median())
    if scale <= 1e-7 * float(train.square().sum(1).mean()) ** 0.5:
        raise InputError(
            "held out: half or more of the images are copies of training images; give unseen ones"
        )
    order = ours.argsort()[:pairs]
    near = float((ours < unseen.quantile(quantile)).double().mean())
    return Memorisation(
        float(ours.median()) / scale,
        near,
        quantile,
        [(int(k), int(places[k]), float(ours[k])) for k in order],
    )
