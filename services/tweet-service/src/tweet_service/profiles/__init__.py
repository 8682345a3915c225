"""Profiles of people: the copy of auth-service's users that sync-service keeps in MongoDB. Only read here."""
