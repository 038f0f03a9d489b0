"""Searching for hyperparameters: what may vary (space), the study and its database, the trials, what they gave."""
