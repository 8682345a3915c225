"""`routes.yaml`: which topic goes to which copy, and how a source row is mapped to a row of the copy.

Only `loader` and `cli` read files, and only `cli` connects to databases.
"""
