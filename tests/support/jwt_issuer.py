"""An issuer of access tokens for tests: real keys, and a key set over HTTP."""

import base64
import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from jose import jwk, jwt

from service_kit.roles import SCOPES, Role

ISSUER, AUDIENCE = "http://issuer.test/api/auth", "tandem"


def segment(content: Any) -> str:
    """Base64url of bytes, or of the JSON of another value. Python's JSON may contain NaN."""
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


class SigningKey:
    def __init__(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        self.kid = secrets.token_hex(8)
        self.pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        public = jwk.construct(self.pem, "ES256").public_key().to_dict()
        self.public_jwk = {**public, "kid": self.kid, "alg": "ES256", "use": "sig"}


class Issuer:
    """Signs with its newest key. `url` serves the public keys; `asked` counts the requests."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.keys = [SigningKey()]
        self.asked = 0

    def claims(self, **changed: Any) -> dict[str, Any]:
        now = int(time.time())
        role = Role(changed.get("role", Role.CUSTOMER))
        return {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": "u-ada",
            "iat": now,
            "nbf": now,
            "exp": now + 600,
            "jti": secrets.token_hex(8),
            "sid": secrets.token_hex(8),
            "username": "ada",
            "name": "Ada",
            "role": "customer",
            "scope": " ".join(SCOPES[role]),
            **changed,
        }

    def token(self, *, headers: dict[str, Any] | None = None, key: SigningKey | None = None, **changed: Any) -> str:
        """A valid token, except for `changed` claims (None removes a claim) and `headers`."""
        key = key or self.keys[-1]
        claims = {name: value for name, value in self.claims(**changed).items() if value is not None}
        return str(jwt.encode(claims, key.pem, "ES256", {"kid": key.kid, "typ": "at+jwt", **(headers or {})}))


@contextmanager
def serving_issuer() -> Iterator[Issuer]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            issuer.asked += 1
            body = msgspec.json.encode({"keys": [key.public_jwk for key in issuer.keys]})
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    issuer = Issuer(f"http://127.0.0.1:{server.server_port}/jwks.json")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield issuer
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
