"""Server-Sent Events of tweets: one change stream of MongoDB for all subscribers of a process."""
