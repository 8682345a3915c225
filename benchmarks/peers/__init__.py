"""What Tandem is measured against. Peers run in an environment of their own, `.venv-peers`."""
