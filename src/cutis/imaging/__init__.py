"""Pixels, without torch: reading, framing, hair, colour, edges and mask clean-up. The only implementations; training uses them too."""
