"""The keys of a scheduler_config.json, each read by its kind, and what became of each."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from sde_diffusion.errors import InputError
from sde_diffusion.models.opened import Finding

FILE = "scheduler_config.json"
KINDS = {bool: "true or false", int: "a whole number", str: "a text", list: "a list of numbers"}
# Keys that say how a step is made. Here solver= says that.
OF_THE_SOLVER = (
    "solver_order",
    "solver_type",
    "algorithm_type",
    "lower_order_final",
    "euler_at_final",
    "variance_type",
    "skip_prk_steps",
    "predict_x0",
    "disable_corrector",
    "solver_p",
    "predictor_order",
    "corrector_order",
    "tau_func",
    "noise_sampler_seed",
    "stochastic_sampling",
    "eta",
)
# Keys of what is switched off, or has no bearing then: key -> the switch.
SWITCHED = {
    "clip_sample_range": "clip_sample",
    "dynamic_thresholding_ratio": "thresholding",
    "sample_max_value": "thresholding",
    "flow_shift": "use_flow_sigmas",
    "base_shift": "use_dynamic_shifting",
    "max_shift": "use_dynamic_shifting",
    "base_image_seq_len": "use_dynamic_shifting",
    "max_image_seq_len": "use_dynamic_shifting",
    "time_shift_type": "use_dynamic_shifting",
}
ENDS_EARLY = "set_alpha_to_one"  # of which false is no switch that is off
# Values of keys that change nothing.
OFF = {"lambda_min_clipped": -math.inf, "interpolation_type": "linear"}
REMEDY = {
    "clip_sample": "guidance=clip clips the denoised image",
    "clip_denoised": "guidance=clip clips the answers",
    "thresholding": "guidance=clip clips, without the quantile",
    "use_dynamic_shifting": "grid=flow_shift grid.shift=S, S = e^mu of the size",
    "shift_terminal": "give the levels: grid=explicit",
    "use_beta_sigmas": "give the levels: grid=explicit",
    "sigma_min": "grid=karras grid.sigma_min=S",
    "sigma_max": "grid=karras grid.sigma_max=S",
    "lambda_min_clipped": "its walk starts at sigma = e^-L: grid=logsnr grid.sigma_max=S",
    "use_lu_lambdas": "give the levels: grid=explicit",
    "final_sigmas_type": "its walk would stand still at the last level; it ends at zero",
    "use_karras_sigmas": "give the levels: grid=explicit",
    "use_exponential_sigmas": "give the levels: grid=explicit",
    "invert_sigmas": "give the levels: grid=explicit",
    ENDS_EARLY: "its walk would end by an evaluation that changes nothing; it ends at zero",
    "interpolation_type": "levels between two numbers are interpolated in log sigma",
    "prediction_type": "its class takes each network for that of a flow, n - x_0, as in diffusers",
}


class Reader:
    """The keys of a config, of which it remembers those that were read."""

    def __init__(self, config: Mapping[str, Any], unsaid: str | None = None) -> None:
        self.config = {key: value for key, value in config.items() if not key.startswith("_")}
        self.read: set[str] = set()
        self.unsaid = unsaid  # what is done in diffusers where the key is not there

    def get(self, key: str, default: Any, kind: type | tuple[type, ...]) -> Any:
        """The value of a key, honoured by whoever asks; InputError for one of another kind."""
        self.read.add(key)
        return self.value(key, default, kind)

    def value(self, key: str, default: Any, kind: type | tuple[type, ...]) -> Any:
        """The same, of a key that is not honoured yet."""
        value = self.config.get(key)
        if value is None:
            return default
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            noun = "a number" if isinstance(kind, tuple) else KINDS[kind]
            usual = "" if default is None else f", such as {json.dumps(default)}"
            shown = json.dumps(value, default=str)[:40]
            raise InputError(f"{FILE}: {key}={shown}: write {noun}{usual}")
        return value

    def choice(self, key: str, default: str, choices: Sequence[str]) -> str:
        """One of the words that diffusers has for a key that is not honoured yet."""
        value: str = self.value(key, default, str)
        if value not in choices:
            raise InputError(f"{FILE}: {key}={value[:40]} is none of {', '.join(choices)}")
        return value

    def number(self, key: str, default: float) -> float:
        value = self.get(key, default, (int, float))
        return float(value)

    def count(self, key: str, default: int) -> int:
        value: int = self.get(key, default, int)
        return value

    def flag(self, key: str) -> bool:
        return bool(self.get(key, False, bool))

    def findings(self) -> list[Finding]:
        """All keys, each honoured or not."""
        findings = [self._finding(key, value) for key, value in sorted(self.config.items())]
        if self.unsaid is not None and self.unsaid not in {*self.config, *self.read}:
            remark = f"{FILE}: not there, and done in diffusers then; {REMEDY[self.unsaid]}"
            findings.append(Finding(self.unsaid, "True", remark, False))
        return findings

    def _finding(self, key: str, value: Any) -> Finding:
        shown = str(value)[:60]
        switch = SWITCHED.get(key)
        if key in self.read:
            return Finding(key, shown, FILE)
        off = value is None or (value is False and key != ENDS_EARLY) or value == OFF.get(key)
        if off or (switch and not self.config.get(switch)):
            return Finding(key, shown, f"{FILE}: switched off")
        if switch:
            return Finding(key, shown, f"{FILE}: with {switch}", False)
        if key in OF_THE_SOLVER:
            return Finding(key, shown, f"{FILE}: of its method; solver= chooses one here", False)
        return Finding(key, shown, f"{FILE}: {REMEDY.get(key, 'unknown here, left out')}", False)
