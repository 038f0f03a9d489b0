"""Losses, each term in its own file; all take logits and give one value an image, the mean is the caller's act."""
