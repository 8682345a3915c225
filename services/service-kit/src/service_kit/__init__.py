"""What Tandem's services share. Nothing in here knows a domain."""
