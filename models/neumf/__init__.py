"""NeuMF."""
