"""auth-service's peer: Django, `django.contrib.auth`, Django REST framework and SimpleJWT, set up by their manuals.

It logs users in, reads the own profile and rotates refresh tokens, in a separate schema on the same MySQL. Common to
both: argon2id with m=19456 KiB, t=2, p=1; ES256; `iss` and `aud` are checked; each request reads the user from the
database; a refresh token is recorded at login, spent at its first use and replaced; database connections are kept and
checked before use; READ COMMITTED; one line of access log per request. Differences:

- Tandem is one asynchronous process with a pool of hashing threads. gunicorn has one process more than there are cores,
  each handles one request at a time and then closes the connection. So Tandem's own code uses one core at most, and the
  peer's uses all.
- Tandem's login counts the attempt by account and by address before it checks the password, and writes an audit trail:
  three transactions. The peer has no limits and no audit: it reads the user and inserts a token.
- Tandem's profile also checks whether the session of the token has ended; the peer's tokens can't be revoked.
- SimpleJWT's refresh tokens are JWTs, so it signs twice where Tandem signs once. It commits each statement (Django's
  default), so two concurrent exchanges of one token both succeed, and it refuses a reused token without ending a
  session. Tandem locks the user, uses one transaction and ends the session.
- Tandem's access tokens also contain name, role, scopes and session; the peer's contain the user's id.
- The driver is PyMySQL, in Python: mysqlclient, in C, has no wheels for Linux. Tandem's asyncmy is compiled. A short
  trial of MySQL's own compiled connector, on a busy machine, showed no difference beyond noise.
- Only the middleware that an API needs is installed: no sessions, no CSRF, no messages. That favours the peer.
"""
