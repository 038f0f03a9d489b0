"""Knowledge mining: what a small network finds becomes prompts, what a promptable model answers becomes its labels."""
