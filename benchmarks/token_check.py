"""The cost of checking one access token of auth-service, and its baseline."""

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from jose.backends.base import Key

from service_kit.tokens import AccessToken, TokenVerifier, public_key

PublicJwk = Mapping[str, Any]

_COORDINATE_BYTES = 32


@dataclass(frozen=True)
class StaticKeys:
    """A `service_kit.tokens.KeySource` with fixed keys, which never waits."""

    keys: Mapping[str, Key]

    async def key(self, kid: str) -> Key | None:
        return self.keys.get(kid)


def verifier_check(token: str, key_set: Sequence[PublicJwk]) -> Callable[[], AccessToken]:
    """Return the services' own check, by `TokenVerifier`."""
    claims = _decoded(token.split(".")[1])
    verifier = TokenVerifier(
        StaticKeys({key["kid"]: public_key(key) for key in key_set}), issuer=claims["iss"], audience=claims["aud"]
    )

    def check() -> AccessToken:
        # The coroutine never waits, so one step completes it. An event loop would add its own time.
        try:
            verifier.verify(token).send(None)
        except StopIteration as ended:
            result: AccessToken = ended.value
            return result
        raise AssertionError("the verifier waited for something")

    return check


def signature_check(token: str, key_set: Sequence[PublicJwk]) -> Callable[[], None]:
    """Return the baseline: the ECDSA verification alone, with everything prepared."""
    kid = _decoded(token.partition(".")[0])["kid"]
    key = next(key for key in key_set if key["kid"] == kid)
    x, y = (int.from_bytes(_bytes(key[coordinate])) for coordinate in ("x", "y"))
    curve_key = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
    signed, _, signature_part = token.rpartition(".")
    raw = _bytes(signature_part)
    r, s = (int.from_bytes(half) for half in (raw[:_COORDINATE_BYTES], raw[_COORDINATE_BYTES:]))
    message, signature, algorithm = signed.encode(), encode_dss_signature(r, s), ec.ECDSA(hashes.SHA256())
    return lambda: curve_key.verify(signature, message, algorithm)


def _decoded(part: str) -> Any:
    return json.loads(_bytes(part))


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
