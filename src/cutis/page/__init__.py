"""What the page in the browser needs from Python: the steps around its networks as graphs, and one manifest."""
