"""Forged, altered and malformed access tokens."""

import hashlib
import hmac
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from fastapi import FastAPI
from jose import jwk, jwt
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from auth_service.keys.service import LoadedKey
from support.auth_app import NewForm, sign_up
from support.jwt_issuer import SigningKey, segment, serving_issuer
from support.responses import problem

Json = dict[str, Any]
Sign = Callable[[bytes], bytes]


def compact(header: Any, claims: Any, sign: Sign) -> str:
    """A token in JWS compact serialization (RFC 7515 §7.1) with any header and claims."""
    signed = f"{segment(header)}.{segment(claims)}"
    return f"{signed}.{segment(sign(signed.encode()))}"


def without(mapping: Json, name: str) -> Json:
    return {key: value for key, value in mapping.items() if key != name}


def ecdsa(curve: ec.EllipticCurve, hashed: hashes.HashAlgorithm) -> Sign:
    """Signs with a new key on this curve. The signature is r followed by s (RFC 7518 §3.4)."""
    key = ec.generate_private_key(curve)
    size = (curve.key_size + 7) // 8

    def sign(message: bytes) -> bytes:
        r, s = decode_dss_signature(key.sign(message, ec.ECDSA(hashed)))
        return r.to_bytes(size, "big") + s.to_bytes(size, "big")

    return sign


@dataclass
class Forger:
    """The `header` and `claims` of a genuine token, and an attacker's own key and account.

    `genuinely` signs with the service's private key, so that only the changed part of a token is wrong.
    """

    key: LoadedKey
    header: Json
    claims: Json
    other_claims: Json
    own: SigningKey = field(default_factory=SigningKey)

    def genuinely(self, message: bytes) -> bytes:
        signature: bytes = self.key.private.sign(message)
        return signature

    def by_attacker(self, message: bytes) -> bytes:
        signature: bytes = jwk.construct(self.own.pem, "ES256").sign(message)
        return signature

    def public_pem(self) -> bytes:
        pem = self.key.public.to_pem()
        return pem if isinstance(pem, bytes) else str(pem).encode()

    def public_der(self) -> bytes:
        numbers = self.key.public.prepared_key
        encoded: bytes = numbers.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return encoded

    def signed(self, **claims: Any) -> str:
        """Signed by the service, with other claims."""
        return compact(self.header, {**self.claims, **claims}, self.genuinely)

    def headed(self, sign: Sign | None = None, **header: Any) -> str:
        """With another header; signed by the service, unless `sign` does."""
        return compact({**self.header, **header}, self.claims, sign or self.genuinely)

    def hs256(self, secret: bytes, **header: Any) -> str:
        def sign(message: bytes) -> bytes:
            return hmac.digest(secret, message, hashlib.sha256)

        return self.headed(sign, alg="HS256", **header)

    def genuine(self) -> str:
        return compact(self.header, self.claims, self.genuinely)


Attack = Callable[[Forger], str]


def der_signature(forger: Forger) -> str:
    def sign(message: bytes) -> bytes:
        raw = forger.genuinely(message)
        return encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))

    return forger.headed(sign)


def spliced(forger: Forger) -> str:
    """The claims of one genuine token under the signature of another."""
    one, other = forger.genuine(), compact(forger.header, forger.other_claims, forger.genuinely)
    return ".".join([*one.split(".")[:2], other.split(".")[2]])


def nested(depth: int = 100_000) -> bytes:
    return b'{"alg":"ES256","typ":"at+jwt","kid":' + b"[" * depth + b"]" * depth + b"}"


ALGORITHMS: dict[str, Attack] = {
    **{
        f"alg {name!r}": lambda forger, name=name: forger.headed(lambda _: b"", alg=name)
        for name in ("none", "None", "NONE", "nOnE", "", None)
    },
    **{
        f"alg {name!r} over a genuine signature": lambda forger, name=name: forger.headed(alg=name)
        for name in ("none", "es256", "ES384", "HS256", "ES256 ", ["ES256"], {"ES256": 1}, 256)
    },
    "no alg": lambda forger: compact(without(forger.header, "alg"), forger.claims, forger.genuinely),
    "HS256 by the public key as PEM": lambda forger: forger.hs256(forger.public_pem()),
    "HS256 by the public key as PEM, stripped": lambda forger: forger.hs256(forger.public_pem().strip()),
    "HS256 by the public key as DER": lambda forger: forger.hs256(forger.public_der()),
    "HS256 by the public key as JWK": lambda forger: forger.hs256(json.dumps(forger.key.public_jwk).encode()),
    "HS256 by nothing": lambda forger: forger.hs256(b""),
    "HS256 by the key id": lambda forger: forger.hs256(forger.key.kid.encode()),
    "a MAC where the signature should be": lambda forger: forger.headed(
        lambda message: hmac.digest(forger.public_pem(), message, hashlib.sha512)
    ),
}

KEYS: dict[str, Attack] = {
    "the attacker's own key under the service's id": lambda forger: forger.headed(forger.by_attacker),
    "the attacker's own key under its own id": lambda forger: forger.headed(forger.by_attacker, kid=forger.own.kid),
    "the attacker's own key, embedded": lambda forger: jwt.encode(
        forger.claims, forger.own.pem, "ES256", {**forger.header, "jwk": forger.own.public_jwk}
    ),
    "the attacker's own key, embedded, under its id": lambda forger: jwt.encode(
        forger.claims, forger.own.pem, "ES256", {**forger.header, "jwk": forger.own.public_jwk, "kid": forger.own.kid}
    ),
    **{
        f"genuine, but with {name} in the header": lambda forger, name=name, value=value: forger.headed(**{name: value})
        for name, value in {
            "jwk": {"kty": "EC"},
            "jku": "http://attacker.test/jwks.json",
            "x5u": "http://attacker.test/cert.pem",
            "x5c": ["MIIB"],
            "crit": ["exp"],
        }.items()
    },
    **{
        f"key id {name!r:.40}": lambda forger, name=name: forger.headed(forger.by_attacker, kid=name)
        for name in (
            "unknown",
            "",
            "' OR '1'='1",
            "x' UNION SELECT 'c2VjcmV0' -- ",
            "'; DROP TABLE signing_keys; -- ",
            "../../../../../../dev/null",
            "/proc/self/environ",
            "http://attacker.test/key",
            "a\x00b",
            "ключ",
            "k" * 10_000,
            None,
            5,
            True,
            ["a"],
            {"a": 1},
        )
    },
    **{
        f"key id {name!r} over a genuine signature": lambda forger, name=name: forger.headed(kid=name)
        for name in ("unknown", "", None, ["a"])
    },
    "no key id": lambda forger: compact(without(forger.header, "kid"), forger.claims, forger.genuinely),
    "HS256 by the empty file its key id names": lambda forger: forger.hs256(b"", kid="../../../../../../dev/null"),
}

TYPES: dict[str, Attack] = {
    **{
        f"typ {name!r}": lambda forger, name=name: forger.headed(typ=name)
        for name in ("JWT", "jwt", "", "at", "id+jwt", "dpop+jwt", "at+jwt ", None, 1, ["at+jwt"])
    },
    "no typ": lambda forger: compact(without(forger.header, "typ"), forger.claims, forger.genuinely),
}

SIGNATURES: dict[str, Attack] = {
    "no signature": lambda forger: forger.headed(lambda _: b""),
    "no signature and no dot": lambda forger: forger.genuine().rpartition(".")[0],
    "r and s are 0": lambda forger: forger.headed(lambda _: bytes(64)),
    "r and s are 1": lambda forger: forger.headed(lambda _: (bytes(31) + b"\x01") * 2),
    "cut short": lambda forger: forger.headed(lambda message: forger.genuinely(message)[:-1]),
    "too long": lambda forger: forger.headed(lambda message: forger.genuinely(message) + b"\x00"),
    "r and s changed over": lambda forger: forger.headed(
        lambda message: forger.genuinely(message)[32:] + forger.genuinely(message)[:32]
    ),
    "DER where r and s should be side by side": der_signature,
    "of another token": spliced,
    "of P-384": lambda forger: forger.headed(ecdsa(ec.SECP384R1(), hashes.SHA384()), alg="ES384"),
    "of P-384, called ES256": lambda forger: forger.headed(ecdsa(ec.SECP384R1(), hashes.SHA256())),
    "of secp256k1, called ES256": lambda forger: forger.headed(ecdsa(ec.SECP256K1(), hashes.SHA256())),
    "of other claims": lambda forger: compact(
        forger.header, {**forger.claims, "role": "admin"}, lambda _: forger.genuinely(forger.genuine().encode())
    ),
    "by the attacker, for another user": lambda forger: jwt.encode(
        {**forger.claims, "sub": forger.other_claims["sub"], "role": "admin"}, forger.own.pem, "ES256", forger.header
    ),
    "by another issuer whose key has the same id": lambda forger: jwt.encode(
        {**forger.claims, "iss": "http://elsewhere.test"}, forger.own.pem, "ES256", forger.header
    ),
}

INFINITE = (float("nan"), float("inf"), float("-inf"))

CLAIMS: dict[str, Attack] = {
    **{
        f"no {name}": lambda forger, name=name: compact(forger.header, without(forger.claims, name), forger.genuinely)
        for name in ("iss", "aud", "sub", "iat", "nbf", "exp", "jti", "sid", "username", "name", "role", "scope")
    },
    **{
        f"aud {value!r}": lambda forger, value=value: forger.signed(aud=value)
        for value in ("other", "Tandem", "", None, 1, ["tandem", "other"], ["tandem"], [], {"tandem": 1})
    },
    **{
        f"iss {value!r}": lambda forger, value=value: forger.signed(iss=value)
        for value in (
            "http://elsewhere.test",
            "http://issuer.test/api/auth/",
            "",
            None,
            ["http://issuer.test/api/auth"],
        )
    },
    "expired": lambda forger: forger.signed(exp=int(time.time())),
    "valid for more than an hour": lambda forger: forger.signed(exp=int(forger.claims["iat"]) + 3602),
    "expired long ago": lambda forger: forger.signed(exp=0),
    "not valid before later": lambda forger: forger.signed(nbf=int(time.time()) + 90),
    "issued later": lambda forger: forger.signed(iat=time.time() + 90),
    **{
        f"{name} {value!r:.40}": lambda forger, name=name, value=value: forger.signed(**{name: value})
        for name in ("exp", "iat", "nbf")
        for value in (*INFINITE, "9999999999", "NaN", "soon", True, None, [9999999999], {"a": 1}, 10**400)
    },
    **{
        f"{name} {value!r:.40}": lambda forger, name=name, value=value: forger.signed(**{name: value})
        for name in ("sub", "sid")
        for value in ("", "unknown", "' OR '1'='1", 1, None, ["a"], "a\x00", "x" * 10_000)
    },
    "sub of another user": lambda forger: forger.signed(sub=forger.other_claims["sub"]),
    "sid of another user": lambda forger: forger.signed(sid=forger.other_claims["sid"]),
    **{
        f"claims that are {value!r}": lambda forger, value=value: compact(forger.header, value, forger.genuinely)
        for value in ([], "text", 1, None, b"", b"\xff\xfe", b"{", b'{"a":1}{"b":2}')
    },
    "claims nested 100,000 deep": lambda forger: compact(forger.header, nested(), forger.genuinely),
}

SHAPES: dict[str, Attack] = {
    **{
        repr(shape): lambda _, shape=shape: shape
        for shape in (
            ".",
            "..",
            "...",
            "a.b.c",
            "a.b.c.d.e",
            "null",
            "undefined",
            "%00",
            "=.=.=",
            "e30.e30.e30",
            "W10.W10.W10",
        )
    },
    "100 kB of one letter": lambda _: "A" * 100_000,
    "100 kB of dots": lambda _: "." * 100_000,
    "100 kB of name": lambda forger: forger.headed(forger.by_attacker, kid="x" * 75_000),
    "100 kB of claims": lambda forger: compact(
        forger.header, {**forger.claims, "name": "x" * 75_000}, forger.by_attacker
    ),
    "header nested 100,000 deep": lambda forger: compact(nested(), forger.claims, forger.by_attacker),
    "header with a number of 100,000 digits": lambda forger: compact(
        b'{"alg":"ES256","typ":"at+jwt","kid":' + b"9" * 100_000 + b"}", forger.claims, forger.by_attacker
    ),
    "header that is no text": lambda forger: compact(b"\xff\xfe\x00", forger.claims, forger.genuinely),
    "two tokens": lambda forger: f"{forger.genuine()} {forger.genuine()}",
    "two tokens, joined": lambda forger: f"{forger.genuine()},{forger.genuine()}",
    "in quotes": lambda forger: f'"{forger.genuine()}"',
    "a refresh token": lambda _: "BcVN6E0fnaMbyx1dQw1jQH3nG5CrG2m0d8cX4cXn0rU",
}


FAMILIES = {
    "algorithm": ALGORITHMS,
    "key": KEYS,
    "type": TYPES,
    "signature": SIGNATURES,
    "claims": CLAIMS,
    "shape": SHAPES,
}


@pytest.fixture(scope="module")
async def forger(app: FastAPI) -> Forger:
    token, others = [(await sign_up(app, name))["access_token"] for name in ("forger", "forgers_victim")]
    return Forger(
        app.state.key_ring.signing_key(),
        header=jwt.get_unverified_header(token),
        claims=jwt.get_unverified_claims(token),
        other_claims=jwt.get_unverified_claims(others),
    )


async def present(client: httpx.AsyncClient, token: str | bytes) -> httpx.Response:
    raw = token if isinstance(token, bytes) else token.encode()
    return await client.get("/v1/users/me", headers=[(b"Authorization", b"Bearer " + raw)])


async def test_reserialized_token_is_accepted(client: httpx.AsyncClient, forger: Forger) -> None:
    """Proves that the other tests' tokens are wrong only in the one thing that they change."""
    answer = await present(client, forger.genuine())
    assert (answer.status_code, answer.json()["username"]) == (200, "forger")


@pytest.mark.parametrize(
    "attack",
    [
        pytest.param(attack, id=f"{family}: {name}")
        for family, attacks in FAMILIES.items()
        for name, attack in attacks.items()
    ],
)
async def test_forged_token_is_refused(client: httpx.AsyncClient, forger: Forger, attack: Attack) -> None:
    answer = await present(client, attack(forger))
    assert problem(answer) == (401, "invalid-token")
    assert answer.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'


@pytest.mark.parametrize(
    "garbage", [b"\xff\xfe\xfd", b"\x00\x01", b"e30.\xe9.e30", "é.ключ.😀".encode(), b"\xff" * 100_000]
)
async def test_token_that_is_not_text_is_refused(client: httpx.AsyncClient, garbage: bytes) -> None:
    assert problem(await present(client, garbage)) == (401, "invalid-token")


@pytest.mark.parametrize("header", ["jku", "x5u"])
async def test_key_url_in_a_token_is_not_fetched(client: httpx.AsyncClient, forger: Forger, header: str) -> None:
    with serving_issuer() as attacker:
        key = attacker.keys[0]
        points = {**forger.header, "kid": key.kid, header: attacker.url}
        assert problem(await present(client, jwt.encode(forger.claims, key.pem, "ES256", points))) == (
            401,
            "invalid-token",
        )
        assert attacker.asked == 0


@pytest.mark.parametrize("attack", ["no signature", "by the attacker, for another user"])
async def test_forged_token_is_refused_where_a_token_is_optional(
    client: httpx.AsyncClient, forger: Forger, new_form: NewForm, rows: AsyncEngine, attack: str
) -> None:
    form, token = new_form(), SIGNATURES[attack](forger)
    answer = await client.post("/v1/register", json=form, headers={"Authorization": f"Bearer {token}"})
    assert problem(answer) == (401, "invalid-token")
    async with rows.connect() as connection:
        assert not await connection.scalar(text("SELECT COUNT(*) FROM users WHERE username = :username"), form)
