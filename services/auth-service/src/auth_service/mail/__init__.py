"""Mail: what it says, and how it reaches the mail server."""
