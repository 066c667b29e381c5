"""A live store whose process is killed at points all over its life, and the check of what is left.

`scenario` lists the commands, `points` counts the moments at which a process may be
killed and kills it, `content` reads what a store holds, `check` looks whether it is sound, `worker`
gives the commands in processes that it forks, and `campaign` draws the kills and shares them out.
"""
