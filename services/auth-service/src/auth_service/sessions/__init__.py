"""Sessions: access tokens, refresh tokens and their families."""
