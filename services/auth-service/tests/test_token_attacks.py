"""Forged, altered and malformed access tokens, and hostile text wherever a client may send some."""

import base64
import hashlib
import hmac
import json
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

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
from support.auth_app import NewForm, Person, Register, client_of
from support.jwt_issuer import SigningKey, serving_issuer
from support.responses import bearer, problem

PASSWORD = "correct horse battery staple"

Json = dict[str, Any]
Sign = Callable[[bytes], bytes]


def segment(content: Any) -> str:
    """Base64url of bytes as they are, of anything else as JSON (Python's, which also writes NaN)."""
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def compact(header: Any, claims: Any, sign: Sign) -> str:
    """A token in JWS compact serialization (RFC 7515 §7.1), of whatever header and claims."""
    signed = f"{segment(header)}.{segment(claims)}"
    return f"{signed}.{segment(sign(signed.encode()))}"


def without(mapping: Json, name: str) -> Json:
    return {key: value for key, value in mapping.items() if key != name}


def ecdsa(curve: ec.EllipticCurve, hashed: hashes.HashAlgorithm) -> Sign:
    """Signs with a new key on this curve: r and s side by side, as JOSE has it (RFC 7518 §3.4)."""
    key = ec.generate_private_key(curve)
    size = (curve.key_size + 7) // 8

    def sign(message: bytes) -> bytes:
        r, s = decode_dss_signature(key.sign(message, ec.ECDSA(hashed)))
        return r.to_bytes(size, "big") + s.to_bytes(size, "big")

    return sign


@dataclass
class Forger:
    """Has a genuine token's `header` and `claims`, and what an attacker has: a key and an account of his own.

    `genuinely` signs with the service's private key: of a token signed so, only what was changed is wrong.
    """

    key: LoadedKey
    header: Json
    claims: Json
    other_claims: Json
    own: SigningKey = field(default_factory=SigningKey)

    def genuinely(self, message: bytes) -> bytes:
        signature: bytes = self.key.private.sign(message)
        return signature

    def by_himself(self, message: bytes) -> bytes:
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
    "his own key under the service's id": lambda forger: forger.headed(forger.by_himself),
    "his own key under his own id": lambda forger: forger.headed(forger.by_himself, kid=forger.own.kid),
    "his own key, embedded": lambda forger: jwt.encode(
        forger.claims, forger.own.pem, "ES256", {**forger.header, "jwk": forger.own.public_jwk}
    ),
    "his own key, embedded, under its id": lambda forger: jwt.encode(
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
        f"key id {name!r:.40}": lambda forger, name=name: forger.headed(forger.by_himself, kid=name)
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
    "by himself, for somebody else": lambda forger: jwt.encode(
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
    "sub of somebody else": lambda forger: forger.signed(sub=forger.other_claims["sub"]),
    "sid of somebody else": lambda forger: forger.signed(sid=forger.other_claims["sid"]),
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
    "100 kB of name": lambda forger: forger.headed(forger.by_himself, kid="x" * 75_000),
    "100 kB of claims": lambda forger: compact(
        forger.header, {**forger.claims, "name": "x" * 75_000}, forger.by_himself
    ),
    "header nested 100,000 deep": lambda forger: compact(nested(), forger.claims, forger.by_himself),
    "header with a number of 100,000 digits": lambda forger: compact(
        b'{"alg":"ES256","typ":"at+jwt","kid":' + b"9" * 100_000 + b"}", forger.claims, forger.by_himself
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


async def open_account(app: FastAPI, username: str) -> Person:
    form = {"username": username, "email": f"{username}@example.com", "name": username}
    async with client_of(app) as client:
        answer = await client.post("/v1/register", json={**form, "password": PASSWORD, "password_confirm": PASSWORD})
    person: Person = answer.json()
    return person


@pytest.fixture(scope="module")
async def forger(app: FastAPI) -> Forger:
    token, others = [(await open_account(app, name))["access_token"] for name in ("forger", "forgers_victim")]
    return Forger(
        app.state.key_ring.signing_key(),
        header=jwt.get_unverified_header(token),
        claims=jwt.get_unverified_claims(token),
        other_claims=jwt.get_unverified_claims(others),
    )


@pytest.fixture(scope="module")
async def insider(app: FastAPI) -> Person:
    """An admin, who may call everything."""
    person = await open_account(app, "insider")
    async with app.state.database.engine.begin() as connection:
        await connection.execute(text("UPDATE users SET role = 'admin' WHERE id = :id"), person["user"])
    return person


async def present(client: httpx.AsyncClient, token: str | bytes) -> httpx.Response:
    raw = token if isinstance(token, bytes) else token.encode()
    return await client.get("/v1/users/me", headers=[(b"Authorization", b"Bearer " + raw)])


async def test_token_that_is_only_written_anew_is_accepted(client: httpx.AsyncClient, forger: Forger) -> None:
    """What makes the other tests say something: what they present is right but for the one thing they change."""
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
async def test_token_that_is_not_genuine_is_refused(client: httpx.AsyncClient, forger: Forger, attack: Attack) -> None:
    answer = await present(client, attack(forger))
    assert problem(answer) == (401, "invalid-token")
    assert answer.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'


@pytest.mark.parametrize(
    "garbage", [b"\xff\xfe\xfd", b"\x00\x01", b"e30.\xe9.e30", "é.ключ.😀".encode(), b"\xff" * 100_000]
)
async def test_bytes_that_are_no_text_are_refused(client: httpx.AsyncClient, garbage: bytes) -> None:
    assert problem(await present(client, garbage)) == (401, "invalid-token")


@pytest.mark.parametrize("header", ["jku", "x5u"])
async def test_key_that_a_token_points_to_is_not_fetched(
    client: httpx.AsyncClient, forger: Forger, header: str
) -> None:
    with serving_issuer() as attacker:
        key = attacker.keys[0]
        points = {**forger.header, "kid": key.kid, header: attacker.url}
        assert problem(await present(client, jwt.encode(forger.claims, key.pem, "ES256", points))) == (
            401,
            "invalid-token",
        )
        assert attacker.asked == 0


@pytest.mark.parametrize("attack", ["no signature", "by himself, for somebody else"])
async def test_where_no_token_is_needed_a_forged_one_is_refused_all_the_same(
    client: httpx.AsyncClient, forger: Forger, new_form: NewForm, rows: AsyncEngine, attack: str
) -> None:
    form, token = new_form(), SIGNATURES[attack](forger)
    answer = await client.post("/v1/register", json=form, headers={"Authorization": f"Bearer {token}"})
    assert problem(answer) == (401, "invalid-token")
    async with rows.connect() as connection:
        assert not await connection.scalar(text("SELECT COUNT(*) FROM users WHERE username = :username"), form)


_NEW_ACCOUNT = {
    "username": "somebody_new",
    "email": "somebody.new@example.com",
    "name": "Somebody",
    "password": PASSWORD,
    "password_confirm": PASSWORD,
    "role": "customer",
}
_LOGIN = {"login": "nobody_here", "password": PASSWORD, "remember_me": False}
# A valid body for each endpoint that takes one; the tests spoil one field of it at a time.
BODIES: dict[tuple[str, str], Json] = {
    ("post", "/v1/register"): _NEW_ACCOUNT,
    ("post", "/v1/browser/register"): _NEW_ACCOUNT,
    ("post", "/v1/login"): _LOGIN,
    ("post", "/v1/browser/login"): _LOGIN,
    ("post", "/v1/token"): {"grant_type": "password", "username": "nobody_here", "password": PASSWORD},
    ("post", "/v1/refresh"): {"refresh_token": "nobody's"},
    ("post", "/v1/logout"): {"refresh_token": "nobody's"},
    ("patch", "/v1/users/me"): {"username": "renamed", "name": "Renamed", "email": "renamed@example.com"},
    ("post", "/v1/users/me/password"): {"current_password": PASSWORD, "new_password": "another correct horse"},
    ("post", "/v1/password/forgot"): {"email": "nobody@example.com"},
    ("post", "/v1/password/reset"): {"token": "nobody's", "new_password": "another correct horse"},
    ("post", "/v1/email/verify"): {"token": "nobody's"},
    ("patch", "/v1/users/{user_id}"): {"name": "Renamed", "role": "customer", "is_active": True},
}
# An OAuth2 client may send these with its form; nothing is done with them.
IGNORED = {"scope", "client_id", "client_secret"}

FIELDS = [(endpoint, name) for endpoint, body in BODIES.items() for name in body]

HOSTILE = (
    "' OR '1'='1' -- ",
    "'; DROP TABLE users; -- ",
    "\\",
    "%",
    "\x00",
    "a\x00b",
    "a\r\nSet-Cookie: admin=1",
    "\ud800",
    "\u202e\u2066",
    "ключ@例え.jp",
    "{{7*7}}${7*7}<script>",
    "😀" * 50,
    10**400,
    float("nan"),
    -1,
    True,
    None,
    [],
    ["a"],
    {"$ne": None},
)


def call(client: httpx.AsyncClient, endpoint: tuple[str, str], person: Person, body: Json) -> Awaitable[httpx.Response]:
    """The endpoint as this person, with a body that may be more than JSON allows for."""
    method, path = endpoint
    url = path.replace("{user_id}", person["user"]["id"])
    if path == "/v1/token":
        form = urlencode({name: str(value) for name, value in body.items()}, errors="surrogatepass")
        return client.request(method, url, content=form, headers={"Content-Type": "application/x-www-form-urlencoded"})
    own_page = {"X-Tandem-Browser": "1", "Sec-Fetch-Site": "same-origin"}
    headers = {**bearer(person), **own_page, "Content-Type": "application/json"}
    return client.request(method, url, content=json.dumps(body), headers=headers)


async def stored(rows: AsyncEngine) -> list[tuple[str, int]]:
    """A checksum of every table."""
    async with rows.connect() as connection:
        tables = ", ".join(await connection.scalars(text("SHOW TABLES")))
        return [tuple(row) for row in await connection.execute(text(f"CHECKSUM TABLE {tables}"))]


def test_every_field_of_every_body_is_attacked(app: FastAPI) -> None:
    schemas = app.openapi()["components"]["schemas"]
    known = set()
    for path, operations in app.openapi()["paths"].items():
        for method, operation in operations.items():
            for content in operation.get("requestBody", {}).get("content", {}).values():
                names = re.findall(r"#/components/schemas/(\w+)", json.dumps(content["schema"]))
                known |= {((method, path), field) for name in names for field in schemas[name]["properties"]}
    assert {each for each in known if each[1] not in IGNORED} == set(FIELDS)


@pytest.mark.parametrize(("endpoint", "name"), FIELDS, ids=lambda each: each if isinstance(each, str) else each[1])
async def test_text_of_10_000_characters_is_refused_and_nothing_of_it_kept(
    client: httpx.AsyncClient, insider: Person, rows: AsyncEngine, endpoint: tuple[str, str], name: str
) -> None:
    before = await stored(rows)
    for long in ("x" * 10_000, "😀" * 10_000, "a" * 9_988 + "@example.com"):
        answer = await call(client, endpoint, insider, {**BODIES[endpoint], name: long})
        status, _ = problem(answer)
        assert status in {401, 422}
        assert len(answer.content) < 2_000, "it must not come back either"
    assert await stored(rows) == before


@pytest.mark.parametrize(("endpoint", "name"), FIELDS, ids=lambda each: each if isinstance(each, str) else each[1])
async def test_hostile_value_is_nothing_unexpected(
    client: httpx.AsyncClient, register: Register, insider: Person, endpoint: tuple[str, str], name: str
) -> None:
    # Who changes a password ends his sessions, and an admin may take his own role away: somebody new each time.
    person = insider
    if endpoint[1].startswith("/v1/users/"):
        person = await register(role="customer" if endpoint[1].startswith("/v1/users/me") else "admin")
    for hostile in HOSTILE:
        answer = await call(client, endpoint, person, {**BODIES[endpoint], name: hostile})
        assert answer.status_code < 500, f"{hostile!r}: {answer.text}"
        if answer.is_error:
            problem(answer)


@pytest.mark.parametrize("path", ["/v1/login", "/v1/token"])
async def test_sql_in_place_of_a_name_logs_nobody_in(client: httpx.AsyncClient, registered: Person, path: str) -> None:
    username = registered["form"]["username"]
    for name in (
        f"{username}' -- ",
        f"{username}'#",
        f"x' OR username = '{username}",
        "' OR '1'='1",
        "' UNION SELECT * FROM users -- ",
        f"{username}\x00",
        f"{username} ",
        "%",
        username[:-1] + "_",
    ):
        content = {"login": name, "password": PASSWORD}
        form = {"data": {"username": name, "password": PASSWORD}} if path == "/v1/token" else {"json": content}
        assert problem(await client.post(path, **form)) == (401, "invalid-credentials"), name


async def test_sql_and_wildcards_in_a_search_are_text(
    client: httpx.AsyncClient, register: Register, insider: Person
) -> None:
    sought = await register(name="100% \\ sure_")
    await register(name="100 dollars")

    async def found(query: str) -> list[Person]:
        answer = await client.get("/v1/users", params={"query": query}, headers=bearer(insider))
        assert answer.status_code == 200
        items: list[Person] = answer.json()["items"]
        return items

    for query in (
        "' OR '1'='1",
        "' UNION SELECT * FROM credentials -- ",
        "%",
        "_",
        "\\",
        "insider%",
        "inside_",
        "\x00",
    ):
        for user in await found(query):
            assert any(user[each].startswith(query) for each in ("username", "name", "email")), query
    assert [user["id"] for user in await found("100% \\ sure")] == [sought["user"]["id"]]


def cursor(*position: Any) -> str:
    return segment(list(position))


@pytest.mark.parametrize("path", ["/v1/users", "/v1/audit"])
@pytest.mark.parametrize(
    "made_up",
    [
        cursor("' OR '1'='1"),
        cursor("' UNION SELECT * FROM credentials -- "),
        cursor("ключ"),
        cursor("\x00"),
        cursor("\ud800"),
        cursor(1),
        cursor(None),
        cursor(),
        cursor("a", "b"),
        segment({"a": 1}),
        segment(b"\xff\xfe"),
        segment(b"[" * 140),
        "====",
        "é",
        "x" * 10_000,
    ],
)
async def test_made_up_cursor_is_refused(client: httpx.AsyncClient, insider: Person, path: str, made_up: str) -> None:
    answer = await client.get(path, params={"cursor": made_up}, headers=bearer(insider))
    status, code = problem(answer)
    assert (status, code) in {(422, "invalid-cursor"), (422, "validation-failed")}


# Every parameter of every path and query, as OpenAPI has them.
async def test_hostile_parameter_is_nothing_unexpected(
    client: httpx.AsyncClient, app: FastAPI, register: Register
) -> None:
    person = await register(role="admin")
    tried = 0
    for path, operations in app.openapi()["paths"].items():
        for method, operation in operations.items():
            for parameter in operation.get("parameters", []):
                for hostile in (
                    "x" * 10_000,
                    "' OR '1'='1' -- ",
                    "ключ",
                    "\x00",
                    "a\r\nb",
                    "../../etc/passwd",
                    "%ff",
                    "-1",
                    "",
                ):
                    place = {parameter["name"]: hostile} if parameter["in"] == "query" else {}
                    url = re.sub(r"\{\w+\}", quote(hostile, safe=""), path)
                    body = BODIES.get((method, path))
                    answer = await client.request(method, url, params=place, json=body, headers=bearer(person))
                    assert answer.status_code < 500, (
                        f"{method} {path} {parameter['name']}={hostile!r:.40}: {answer.text}"
                    )
                    tried += 1
    assert tried > 100


async def test_request_id_that_would_break_out_of_its_header_is_replaced(
    client: httpx.AsyncClient, app: FastAPI
) -> None:
    for offered in (b"a\r\nSet-Cookie: admin=1", b"a\nb", b"\x00", "ключ".encode(), b"a b", b"x" * 129, b""):
        answer = await client.get("/v1/users/me", headers=[(b"X-Request-ID", offered)])
        assert re.fullmatch(r"[0-9a-f-]{36}", answer.headers["X-Request-ID"])
        assert answer.json()["request_id"] == answer.headers["X-Request-ID"]
        assert "set-cookie" not in answer.headers


async def test_user_agent_is_kept_without_what_could_forge_a_line(
    client: httpx.AsyncClient, registered: Person
) -> None:
    login = {"login": registered["form"]["username"], "password": PASSWORD}
    agent = b"browser\r\nSet-Cookie: admin=1\x00\x1b[2J\x7f" + b"x" * 10_000
    headers = [(b"User-Agent", agent), (b"Content-Type", b"application/json")]
    answer = await client.post("/v1/login", content=json.dumps(login), headers=headers)
    assert answer.status_code == 200
    sessions = (await client.get("/v1/sessions", headers=bearer(answer.json()))).json()["items"]
    (client_text,) = [each["client"] for each in sessions if each["is_current"]]
    assert client_text.startswith("browserSet-Cookie")
    assert client_text.isprintable()
    assert len(client_text) <= 200


@pytest.mark.parametrize(
    "name", ["Ada\r\nBcc: all@example.com", "Ada\nLovelace", "Ada\x00", "Ada\x1b[2J", "Ada\u2028Lovelace"]
)
async def test_name_of_several_lines_is_refused(
    client: httpx.AsyncClient, registered: Person, new_form: NewForm, name: str
) -> None:
    answers = (
        await client.post("/v1/register", json=new_form() | {"name": name}),
        await client.patch("/v1/users/me", json={"name": name}, headers=bearer(registered)),
    )
    for answer in answers:
        assert problem(answer) == (422, "validation-failed")
        assert [error["pointer"] for error in answer.json()["errors"]] == ["#/name"]


@pytest.mark.parametrize("depth", [100, 100_000])
async def test_body_that_is_nested_deeply_is_refused(client: httpx.AsyncClient, depth: int) -> None:
    body = b'{"login":' + b"[" * depth + b"]" * depth + b"}"
    answer = await client.post("/v1/login", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in {400, 422}
    problem(answer)
