"""Model releases on the box: what may be trusted, what is stored, and where an install stands."""
