"""D(x, sigma, cond) = E[x_0 | x_0 + sigma n = x, cond], free of any SDE."""
