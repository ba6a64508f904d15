"""From seeds to images, and between images and latents."""
