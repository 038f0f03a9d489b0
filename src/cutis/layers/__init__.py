"""Deep-learning building blocks that a paper names."""
