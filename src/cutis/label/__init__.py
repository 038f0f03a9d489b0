"""Masks for the images that have none: predicted, ranked by how sure they are, exported for an annotation tool."""
