"""A service with logins, and its names of the fields."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import httpx

from benchmarks.load import Request
from benchmarks.measurement import MeasurementError
from benchmarks.server import Server

_SIGN_IN_THREADS = 4
_ANSWER_SECONDS = 30


def account_name(number: int) -> str:
    return f"bench{number}"


@dataclass(frozen=True)
class Subject:
    """Its accounts are `account_name(0)` and so on, all with the same password."""

    name: str
    server: Server
    password: str
    login_field: str
    access_field: str
    refresh_field: str

    def login_request(self, account: int) -> Request:
        body = {self.login_field: account_name(account), "password": self.password}
        return Request("POST", "/v1/login", body=body)

    def profile_request(self, tokens: dict[str, str]) -> Request:
        return Request("GET", "/v1/users/me", bearer=tokens[self.access_field])

    def refresh_request(self, tokens: dict[str, str]) -> Request:
        return Request("POST", "/v1/refresh", body={self.refresh_field: tokens[self.refresh_field]})

    def sign_in(self, accounts: int) -> list[dict[str, str]]:
        """Log in to so many accounts. Return the responses with their tokens. Raises `MeasurementError`."""
        with httpx.Client(base_url=self.server.url, timeout=_ANSWER_SECONDS) as client:

            def log_in(account: int) -> dict[str, str]:
                request = self.login_request(account)
                return json_of(client.post(request.path, json=request.body))

            with ThreadPoolExecutor(_SIGN_IN_THREADS) as pool:
                return list(pool.map(log_in, range(accounts)))


def json_of(response: httpx.Response) -> dict[str, str]:
    """Return the JSON of a 2xx response. Raises `MeasurementError` for others."""
    if not response.is_success:
        request = response.request
        raise MeasurementError(f"{request.method} {request.url.path}: {response.status_code} {response.text[:300]}")
    content: dict[str, str] = response.json()
    return content
