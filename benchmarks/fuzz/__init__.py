"""Files made to break the readers, and the check that none does.

`files` draws a file from a seed, `text` and `parquet` write sound and unsound ones, `footers` lies
in Parquet's metadata, `mutations` damages bytes, `hostile` lists the named cases, and `check` makes
one the next period of a store and looks at what came of it.
"""
