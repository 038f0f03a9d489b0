"""Training procedures: what a method does in a step (recipes), the engine that runs any of them, their run folders."""
