"""Where interactions come from, how a log is cut into periods, what is judged on the next one."""
