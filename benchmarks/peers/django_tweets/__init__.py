"""tweet-service's peer: Django, Django REST framework, SimpleJWT and PyMongo, as their manuals say.

It reads a tweet, a page of the home timeline, and posts a tweet, on the same database and collections. Alike on both
sides: auth-service's own access tokens, by the keys it publishes, ES256, `iss` and `aud` checked; the copy of the
user looked at for revocation; the same queries and the same fields in the answer; an entity tag; the same write
concern; a line of access log for each request. What differs:

- tweet-service is an asynchronous process, measured alone and with one for each core; gunicorn has one more than there
  are cores, each of which does one request at a time and then closes the connection. A process of tweet-service gets
  one core at the most, while the peer's get all of them.
- tweet-service asks MongoDB once for what several requests ask for at the same time, and stores several posts at once.
- SimpleJWT checks the signature of a token at each request. tweet-service does so once for each token and remembers
  it, and whether the token was revoked for two seconds. The peer asks for that at each request.
- tweet-service limits how much one person writes and one address reads, and sees that no request repeats a post.
- PyMongo is faster without an event loop around it than motor, which runs it in threads.
- Of Django's middleware only what an API needs is there. That favours the peer.
"""
