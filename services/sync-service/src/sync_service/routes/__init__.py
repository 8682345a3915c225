"""`routes.yaml`: which topic goes to which copy, and how a source row becomes a row of the copy. Pure."""
