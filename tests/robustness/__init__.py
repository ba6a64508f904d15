"""Random configs, one of every few values hostile: finite images, or one line with a remedy."""
