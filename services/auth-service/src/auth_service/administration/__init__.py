"""What admins do with other people's accounts, and senior managers may look at."""
