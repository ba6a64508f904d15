"""From names and yaml to checked components."""
