"""auth-service's peer: Django, `django.contrib.auth`, Django REST framework and SimpleJWT, as their manuals say.

It logs in, reads the own profile and rotates refresh tokens, in a schema of its own on the same MySQL. Alike on both
sides: argon2id with m=19456 KiB, t=2, p=1; ES256; `iss` and `aud` checked; the user read from the database for each
request; a refresh token recorded at login, spent at its first use and replaced; connections to the database kept and
checked before use; READ COMMITTED; a line of access log for each request. What differs:

- Tandem is one asynchronous process with a pool of hashing threads, gunicorn one process more than there are cores,
  each of which does one request at a time and then closes the connection. So one core is the most that Tandem's own
  code gets, while the peer's gets all of them.
- Tandem's login counts the attempt, by account and by address, before the password is looked at, and writes an audit
  trail: three transactions. The peer's limits nobody and keeps no trail: it reads the user and inserts a token.
- Tandem's profile also asks whether the session of the token has ended; the peer's tokens can't be revoked.
- SimpleJWT's refresh tokens are JWTs, so that it signs twice where Tandem signs once. It commits each statement by
  itself (Django's default), so that of two exchanges of one token at the same time both succeed, and a reused token is
  refused but ends nobody's session; Tandem locks the user, does all in one transaction and ends the session.
- Tandem's access tokens also carry the name, role, scopes and session; the peer's carry the user's id.
- The driver is PyMySQL, in Python: mysqlclient, in C, has no wheels for Linux. Tandem's asyncmy is compiled. A short
  trial of MySQL's own connector, compiled too, on a busy machine showed no difference larger than its noise.
- Of Django's middleware only what an API needs is there: no sessions, no CSRF, no messages. That favours the peer.
"""
