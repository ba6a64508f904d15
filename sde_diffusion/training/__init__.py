"""Training: ``trainer.Trainer`` is the loop; settings and checkpoints stand beside it."""
