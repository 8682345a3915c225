"""Sessions: login, access tokens, refresh tokens and their families."""
