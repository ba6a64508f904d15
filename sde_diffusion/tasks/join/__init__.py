"""What several finished jobs say together.

``finished`` (the jobs of folders, and in what they differ), ``pools`` (the images of one sampler at
one NFE over all jobs, by seed), ``comparison`` (one comparison of them all), ``table`` (jobs that
were judged one by one)."""

from sde_diffusion.tasks.join.task import joined, run

__all__ = ["joined", "run"]
