"""Pixels, without torch: reading, framing, hair, colour, edges, mask clean-up; training uses the same functions."""
