"""Limits on writes of a person and reads of an address, counted in MongoDB, so that replicas share them."""
