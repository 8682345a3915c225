"""`/v1/counts`: how many rows both stores have, side by side."""
