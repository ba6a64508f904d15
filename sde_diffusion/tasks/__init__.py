"""The tasks of the command line, one a module, each with ``run(config, folder)``."""
