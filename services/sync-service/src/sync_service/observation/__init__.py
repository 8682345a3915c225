"""Looks at parts that may not answer, for `pipeline` and `counts`: in time, and no more often than is good for them."""
