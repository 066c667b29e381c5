"""DISTILL-CF: the optimisation of a synthetic summary."""
