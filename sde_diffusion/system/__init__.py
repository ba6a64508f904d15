"""The machine: files, devices, processes, what a number was made by, and trackers."""
