"""What an image is conditioned on."""
