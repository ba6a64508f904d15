"""D(x, sigma, cond) = E[x_0 | x_0 + sigma n = x, cond], free of any SDE."""

# Registers what it defines, so that a checkpoint's name of it is known.
from sde_diffusion.denoisers import timesteps as timesteps
