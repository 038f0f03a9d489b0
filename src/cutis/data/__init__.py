"""Public data sets in their official layouts, all yielding the same `Sample`; splits, checks, caches, drawn lesions."""
