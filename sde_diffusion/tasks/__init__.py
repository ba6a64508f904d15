"""The tasks of the command line, one a module or folder, each with ``run(config, folder)``."""
