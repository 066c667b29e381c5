"""Who does the tasks of a study: processes of this machine, or those of a cluster."""
