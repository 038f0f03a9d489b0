"""Teachers: frozen networks that say of an image what the student is to learn; live, or kept in a cache on disk."""
