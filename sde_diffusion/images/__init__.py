"""Sets of uint8 images, and contact sheets of them."""
