"""`/v1/counts`: the numbers of rows in both stores, side by side."""
