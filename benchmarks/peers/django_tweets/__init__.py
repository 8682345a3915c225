"""tweet-service's peer: Django, Django REST framework, SimpleJWT and PyMongo, set up by their manuals.

It reads a tweet and a page of the home timeline, and posts a tweet, on the same database and collections. Common to
both: auth-service's access tokens and published keys, ES256, `iss` and `aud` are checked; the copy of the user is read
for revocation; the same queries and the same fields in the response; an entity tag; the same write concern; one line of
access log per request. Differences:

- tweet-service is an asynchronous process, measured alone and with one per core. gunicorn has one process more than
  there are cores, each handles one request at a time and then closes the connection. A process of tweet-service uses
  one core at most, and the peer's use all.
- tweet-service batches the queries and inserts of concurrent requests.
- SimpleJWT checks the signature of a token, and the peer its revocation, at each request. tweet-service caches both:
  the signature for the life of the token, the revocation for two seconds.
- tweet-service limits writes per user and reads per address, and rejects repeated posts.
- PyMongo is faster without an event loop than motor, which runs it in threads.
- Only the middleware that an API needs is installed. That favours the peer.
"""
