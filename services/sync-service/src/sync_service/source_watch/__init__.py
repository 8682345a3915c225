"""Finds changes of a source that cause no event of a row. They put the copy in doubt, with the reason.

`sinks.mysql.source_watch` and `sinks.mongodb.source_watch` find them. What leaves no trace is found by the
comparisons (`proof`).
"""
