"""The tasks of the command line, one a module, each with ``run(config, folder)``.

What ``compare`` is made of: ``plans`` (the cells to run, all checked first), ``cells`` (one on
disk, resumed), ``verdict`` (means over blocks of seeds, and ranks). What several tasks share:
``scores`` (distances as rows), ``entries`` (lists of choices on the command line), ``parts`` (long
work kept on disk), ``spectra`` (the spectrum of a data set) and ``common``.
"""
