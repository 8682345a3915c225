"""Users that write steadily over REST, and now and then in a transaction, each with its own accounts and tweets.

Rows have one writer each, so `ExpectedState` knows every row. After an unknown outcome the writer never writes to that
row again.
"""

import asyncio
import random
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from faults.expected_state import ExpectedState, State
from faults.transactions import TransactionFailed, Transactions

AUTH, TWEETS = "/api/auth/v1", "/api/tweets/v1"
TIMEOUT_SECONDS = 10.0
ACCOUNTS_EACH = 3
TWEETS_REMEMBERED = 40
_FIRST_PAUSE_SECONDS = 0.2
_LONGEST_PAUSE_SECONDS = 2.0
# The share of MySQL's transactions that the server compresses in its binary log.
_COMPRESSED = 0.5


class Rejected(Exception):  # noqa: N818 - a response
    """The request certainly had no effect."""


class OutcomeUnknown(Exception):  # noqa: N818 - a response
    """The request may have had an effect."""


@dataclass
class Account:
    id: str
    username: str
    bearer: str
    password: str
    followed: set[str] = field(default_factory=set)


@dataclass
class OwnTweet:
    id: str
    author: Account
    version: int = 1
    liked_by: set[str] = field(default_factory=set)


class Client:
    """REST through the gateway, and transactions. Every request succeeds, or raises `Rejected` or `OutcomeUnknown`."""

    def __init__(self, gateway: str, expected: ExpectedState, transactions: Transactions) -> None:
        self.expected = expected
        self._transactions = transactions
        self._http = httpx.AsyncClient(base_url=gateway, timeout=TIMEOUT_SECONDS)

    async def close(self) -> None:
        await self._http.aclose()

    async def request(self, method: str, path: str, bearer: str | None = None, **request: Any) -> httpx.Response:
        """Return a successful response. Raises `Rejected`, `OutcomeUnknown`."""
        headers = {**request.pop("headers", {}), **({"Authorization": f"Bearer {bearer}"} if bearer else {})}
        try:
            response = await self._http.request(method, path, headers=headers, **request)
        except httpx.ConnectError as error:
            raise Rejected from error
        except httpx.TransportError as error:
            raise OutcomeUnknown from error
        if response.is_success:
            return response
        if response.status_code == 429:
            await asyncio.sleep(min(float(response.headers.get("Retry-After", 1)), _LONGEST_PAUSE_SECONDS))
            raise Rejected
        if response.status_code >= 500:
            raise OutcomeUnknown
        # tweet-service looks the followed user up in the copy of the accounts, which may be late.
        if not (response.status_code == 404 and path.endswith("/follow")):
            self.expected.unexpected.append(f"{method} {path}: {response.status_code} {response.text[:300]}")
        raise Rejected

    async def register(self) -> Account:
        username, password = f"p_{secrets.token_hex(8)}", secrets.token_urlsafe(12)
        form = {"username": username, "email": f"{username}@example.com", "name": "New user"}
        passwords = {"password": password, "password_confirm": password}
        body = (await self.request("POST", f"{AUTH}/register", json={**form, **passwords})).json()
        account = Account(body["user"]["id"], username, body["access_token"], password)
        self.expected.note_acknowledged("auth.users", account.id, {"username": username, "name": form["name"]})
        return account

    async def rename(self, account: Account, name: str) -> None:
        state = {"username": account.username, "name": name}
        await self._change("auth.users", account.id, state, "PATCH", f"{AUTH}/users/me", account, json={"name": name})

    async def rename_repeatedly(self, account: Account, names: Sequence[str], *, compressed: bool) -> None:
        """Change the name several times in one transaction."""
        state = {"username": account.username, "name": names[-1]}
        with self._noting("auth.users", account.id, state):
            await self._transactions.rename(account.id, names, compressed=compressed)

    async def delete_account(self, account: Account) -> None:
        password = {"current_password": account.password}
        await self._change("auth.users", account.id, None, "DELETE", f"{AUTH}/users/me", account, json=password)

    async def tweet(self, author: Account, text: str) -> OwnTweet:
        body = (await self.request("POST", f"{TWEETS}/tweets", author.bearer, json={"text": text})).json()
        self.expected.note_acknowledged("tweets", body["id"], {"text": text, "version": 1})
        return OwnTweet(body["id"], author)

    async def edit(self, tweet: OwnTweet, text: str) -> None:
        state = {"text": text, "version": tweet.version + 1}
        if_match = {"If-Match": f'"{tweet.version}"'}
        path = f"{TWEETS}/tweets/{tweet.id}"
        await self._change(
            "tweets", tweet.id, state, "PATCH", path, tweet.author, json={"text": text}, headers=if_match
        )
        tweet.version += 1

    async def edit_repeatedly(self, tweet: OwnTweet, texts: Sequence[str]) -> None:
        """Delete the tweet, create it again and edit it in one transaction."""
        state = {"text": texts[-1], "version": tweet.version + len(texts)}
        with self._noting("tweets", tweet.id, state):
            await self._transactions.edit(tweet.id, texts, tweet.version + 1)
        tweet.version += len(texts)

    async def delete(self, tweet: OwnTweet) -> None:
        """The service deletes the tweet's likes a moment later."""
        likes = [f"{tweet.id} {user_id}" for user_id in tweet.liked_by]
        try:
            await self._change("tweets", tweet.id, None, "DELETE", f"{TWEETS}/tweets/{tweet.id}", tweet.author)
        except OutcomeUnknown:
            for like in likes:
                self.expected.note_uncertain("likes", like, None)
            raise
        for like in likes:
            self.expected.note_acknowledged("likes", like, None)

    async def like(self, tweet: OwnTweet, account: Account) -> None:
        await self._change("likes", f"{tweet.id} {account.id}", {}, "PUT", f"{TWEETS}/tweets/{tweet.id}/like", account)
        tweet.liked_by.add(account.id)

    async def unlike(self, tweet: OwnTweet, account: Account) -> None:
        key = f"{tweet.id} {account.id}"
        await self._change("likes", key, None, "DELETE", f"{TWEETS}/tweets/{tweet.id}/like", account)
        tweet.liked_by.discard(account.id)

    async def follow(self, follower: Account, followee: Account) -> None:
        path = f"{TWEETS}/users/{followee.username}/follow"
        await self._change("follows", f"{follower.id} {followee.id}", {}, "PUT", path, follower)
        follower.followed.add(followee.id)

    async def unfollow(self, follower: Account, followee: Account) -> None:
        path = f"{TWEETS}/users/{followee.username}/follow"
        await self._change("follows", f"{follower.id} {followee.id}", None, "DELETE", path, follower)
        follower.followed.discard(followee.id)

    async def _change(  # noqa: PLR0917 - callers read as a table
        self, table: str, key: str, state: Any, method: str, path: str, account: Account, **request: Any
    ) -> None:
        """Write one row, and note the outcome in `expected`."""
        with self._noting(table, key, state):
            await self.request(method, path, account.bearer, **request)

    @contextmanager
    def _noting(self, table: str, key: str, state: State) -> Iterator[None]:
        """Note the outcome of a write in `expected`. Raises `OutcomeUnknown` of a failed transaction, too."""
        try:
            yield
        except (OutcomeUnknown, TransactionFailed) as error:
            self.expected.note_uncertain(table, key, state)
            raise OutcomeUnknown from error
        self.expected.note_acknowledged(table, key, state)


class Writer:
    """Acts in sequence, with pauses of `pause` seconds on average. `lock` is held during each action."""

    def __init__(self, client: Client, rng: random.Random, pause: float) -> None:
        self.lock = asyncio.Lock()
        self._client = client
        self._rng = rng
        self._pause = pause
        self._accounts: list[Account] = []
        self._tweets: list[OwnTweet] = []
        self._failures = 0

    async def run(self) -> None:
        while True:
            async with self.lock:
                try:
                    await self._act()
                    self._failures = 0
                except (Rejected, OutcomeUnknown):
                    self._failures += 1
            backoff = min(_FIRST_PAUSE_SECONDS * 2**self._failures, _LONGEST_PAUSE_SECONDS) if self._failures else 0
            await asyncio.sleep(backoff + self._rng.uniform(0, 2 * self._pause))

    async def _act(self) -> None:
        if len(self._accounts) < ACCOUNTS_EACH:
            self._accounts.append(await self._client.register())
            return
        if not self._tweets:
            await self._post()
            return
        # Weights in per cent.
        actions = {
            25: self._post,
            19: self._edit,
            17: self._toggle_like,
            13: self._delete,
            9: self._rename,
            7: self._toggle_follow,
            6: self._edit_repeatedly,
            3: self._rename_repeatedly,
            1: self._delete_account,
        }
        (action,) = self._rng.choices(list(actions.values()), weights=list(actions))
        await action()

    async def _post(self) -> None:
        self._tweets.append(await self._client.tweet(self._rng.choice(self._accounts), self._text()))
        del self._tweets[:-TWEETS_REMEMBERED]

    async def _edit(self) -> None:
        await self._with_tweet(lambda tweet: self._client.edit(tweet, self._text()))

    async def _delete(self) -> None:
        tweet = self._rng.choice(self._tweets)
        self._tweets.remove(tweet)
        await self._client.delete(tweet)

    async def _toggle_like(self) -> None:
        """Like, unlike, like again: the same key is deleted and created again."""
        account = self._rng.choice(self._accounts)

        async def toggle(tweet: OwnTweet) -> None:
            liked = account.id in tweet.liked_by
            await (self._client.unlike(tweet, account) if liked else self._client.like(tweet, account))

        await self._with_tweet(toggle)

    async def _toggle_follow(self) -> None:
        follower, followee = self._rng.sample(self._accounts, 2)
        followed = followee.id in follower.followed
        try:
            await (self._client.unfollow if followed else self._client.follow)(follower, followee)
        except OutcomeUnknown:
            self._forget(follower)
            raise

    async def _rename(self) -> None:
        name = f"Name {self._rng.randrange(10**9)}"
        await self._with_account(lambda account: self._client.rename(account, name))

    async def _edit_repeatedly(self) -> None:
        texts = [self._text() for _ in range(self._rng.randint(1, 6))]
        await self._with_tweet(lambda tweet: self._client.edit_repeatedly(tweet, texts))

    async def _rename_repeatedly(self) -> None:
        names = [f"Name {self._rng.randrange(10**9)}" for _ in range(self._rng.randint(2, 6))]
        compressed = self._rng.random() < _COMPRESSED
        await self._with_account(lambda each: self._client.rename_repeatedly(each, names, compressed=compressed))

    async def _delete_account(self) -> None:
        account = self._rng.choice(self._accounts)
        self._forget(account)
        await self._client.delete_account(account)

    async def _with_tweet(self, act: Callable[[OwnTweet], Awaitable[None]]) -> None:
        tweet = self._rng.choice(self._tweets)
        try:
            await act(tweet)
        except OutcomeUnknown:
            self._tweets.remove(tweet)
            raise

    async def _with_account(self, act: Callable[[Account], Awaitable[None]]) -> None:
        account = self._rng.choice(self._accounts)
        try:
            await act(account)
        except OutcomeUnknown:
            self._forget(account)
            raise

    def _forget(self, account: Account) -> None:
        """Never write to the account again. Its tweets, likes and follows stay as they are."""
        self._accounts.remove(account)
        self._tweets = [
            tweet for tweet in self._tweets if tweet.author is not account and account.id not in tweet.liked_by
        ]

    def _text(self) -> str:
        return f"Thought {self._rng.randrange(10**12)} of #tandem, zu groß für 日本語"


@dataclass
class Writers:
    """All writers together."""

    all: list[Writer]
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def start(self) -> None:
        self._tasks = [asyncio.create_task(writer.run()) for writer in self.all]

    async def stop(self) -> None:
        """Stop all writers. Raises the exception that ended one of them before."""
        for task in self._tasks:
            task.cancel()
        for result in await asyncio.gather(*self._tasks, return_exceptions=True):
            if isinstance(result, Exception):
                raise result

    @asynccontextmanager
    async def paused(self) -> AsyncIterator[None]:
        """No request is in flight while the context is open."""
        for writer in self.all:
            await writer.lock.acquire()
        try:
            yield
        finally:
            for writer in self.all:
                writer.lock.release()
