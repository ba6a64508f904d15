"""Training: ``loop.Trainer`` is the loop; settings, schedules and checkpoints stand beside it."""
