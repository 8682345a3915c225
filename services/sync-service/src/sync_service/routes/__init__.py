"""`routes.yaml`: which topic goes to which copy, and how a source row is mapped to a row of the copy. Pure."""
