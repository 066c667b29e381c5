"""Sources of logs, cuts into periods, and evaluations on the next period."""
