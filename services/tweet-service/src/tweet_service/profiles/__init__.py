"""Profiles of people, and who is deleted: the copy of auth-service's users that sync-service keeps. Only read here."""
