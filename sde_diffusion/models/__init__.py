"""A model: a denoiser with its name, opened from a file."""
