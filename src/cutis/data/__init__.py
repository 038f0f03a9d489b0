"""Public data sets in their official layouts, each yielding the same `Sample`; splits, checks, caches, drawn lesions."""
