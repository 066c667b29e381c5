"""Matrix factorisation (iALS)."""
