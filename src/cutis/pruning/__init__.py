"""Channels that may go: three ways to score them (SparseSegNet, Eq. 1, 2, 5-6) and the surgery that takes them out."""
