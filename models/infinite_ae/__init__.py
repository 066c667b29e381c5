"""∞-AE: kernel, solvers, exact and Nyström fits."""
