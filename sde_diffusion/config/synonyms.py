"""Keys by the words that other packages have for them: ``num_inference_steps`` is ``nfe``.

A word is looked up here only where it is no key: ``steps`` is one of ``train``.
"""

from __future__ import annotations

from collections.abc import Iterable

from sde_diffusion.system.spelling import did_you_mean, folded

SCALE = "guidance.cfg.scale"
# Of each key the words for it, without capitals, hyphens and underscores.
WORDS = {
    "nfe": "steps numsteps nsteps numinferencesteps inferencesteps samplingsteps samplesteps "
    "numsamplingsteps ddimsteps timesteps numtimesteps evaluations nevaluations iterations",
    "n": "batch num count number numimages nimages numsamples nsamples samples images amount "
    "numimagesperprompt batchcount",
    "samples": "n num count numimages nimages numsamples nsamples nsample",
    "batch_size": "batch bs maxbatch maxbatchsize minibatch microbatch numperbatch",
    "solver": "scheduler samplername schedulername integrator odesolver",
    "solvers": "scheduler schedulers sampler samplers",
    "grid": "schedule scheduletype noiseschedule sigmaschedule sigmas noiselevels schedulertype",
    "label": "classlabels classlabel classidx classid classes class cls y labels target digit",
    "prompt": "text caption sentence promptstr",
    "negative": "negativeprompt negprompt neg uncondprompt unconditionalprompt",
    "size": "height width resolution imagesize imgsize shape side",
    "seeds": "randomseed randomseeds manualseed generator rng",
    "seed": "randomseed manualseed generator rng",
    "start": "image initimage init inputimage x0",
    "strength": "denoisingstrength denoise denoisestrength",
    "mask": "maskimage inpaintmask inpaint",
    "x_T": "latents latent noise z xt initialnoise init",
    SCALE: "guidancescale cfgscale cfg w guidancestrength guidanceweight scale",
    "scale": "w weight guidancescale cfgscale strength",
    "embedded_guidance": "distilledguidance embeddedguidancescale",
    "checkpoint": "model modelpath modelid ckpt ckptpath weights pretrained networkpkl",
    "images": "samples folder path generated fake image",
    "image": "picture photo input images initimage",
    "reference": "ref real realimages refpath stats",
    "extractor": "featureextractor features detector detectorname",
    "callback": "callbackonstepend onstep hook",
    "progress": "verbose showprogress progressbar tqdm",
    "precision": "fp16 bf16 half amp mixedprecision autocast torchdtype",
    "device": "gpu cuda cpu",
    "animation": "animate video gif film",
    "operator": "degradation measurement task forwardoperator",
    "lr": "learningrate",
    "path": "file filename folder dir directory root",
    "file": "path filename",
    "root": "path folder dir directory",
    "steps": "iterations iters maxsteps trainsteps numtrainsteps maxiters numiterations",
    "hydra.run.dir": "folder out outdir output outputdir savedir dir savepath logdir",
}
MEANT = {key: frozenset(map(folded, words.split())) for key, words in WORDS.items()}


def keys_of(word: str, keys: Iterable[str]) -> list[str]:
    """The keys, of those known, that other packages call ``word``; of one word there may be two.

    A key may have a word before it that is typed too, ``guidance=cfg guidance.cfg.scale``.
    """
    typed = folded(word)
    return [key for key in keys if typed in MEANT.get(key.split()[-1], ())]


def key_meant(word: str, task_keys: Iterable[str]) -> str:
    """``did you mean X? `` if a known key is spelt like it, or is what others call so.

    One that differs in capitals and hyphens alone comes first, then what others call so.
    """
    names = list(dict.fromkeys(task_keys))
    same = [name for name in names if folded(name) == folded(word)]
    if not same and (keys := keys_of(word, names)):
        return f"did you mean {' or '.join(keys)}? "
    return did_you_mean(word, same or names)
