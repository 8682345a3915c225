"""Tweets on MongoDB. `main` builds the application, `settings` configures it; a package for each domain."""
