"""People who write steadily over REST, each with accounts and tweets that nobody else touches.

So the journal knows what every row has to be. Whoever gets no answer, or one that leaves open what was done, never
touches that row again.
"""

import asyncio
import random
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from faults.journal import Journal

AUTH, TWEETS = "/api/auth/v1", "/api/tweets/v1"
TIMEOUT_SECONDS = 10.0
ACCOUNTS_EACH = 3
TWEETS_REMEMBERED = 40
_FIRST_PAUSE_SECONDS = 0.2
_LONGEST_PAUSE_SECONDS = 2.0


class Refused(Exception):  # noqa: N818 - an answer
    """It was not done, for sure."""


class Unknown(Exception):  # noqa: N818 - an answer
    """It was done, or not."""


@dataclass
class Account:
    id: str
    username: str
    bearer: str
    followed: set[str] = field(default_factory=set)


@dataclass
class OwnTweet:
    id: str
    author: Account
    version: int = 1
    liked_by: set[str] = field(default_factory=set)


class Client:
    """REST through the gateway, with every answer read as one of three: done, refused, unknown."""

    def __init__(self, gateway: str, journal: Journal) -> None:
        self.journal = journal
        self._http = httpx.AsyncClient(base_url=gateway, timeout=TIMEOUT_SECONDS)

    async def close(self) -> None:
        await self._http.aclose()

    async def ask(self, method: str, path: str, bearer: str | None = None, **request: Any) -> httpx.Response:
        """The answer of a success. Raises `Refused`, `Unknown`."""
        headers = {**request.pop("headers", {}), **({"Authorization": f"Bearer {bearer}"} if bearer else {})}
        try:
            answer = await self._http.request(method, path, headers=headers, **request)
        except httpx.ConnectError as error:
            raise Refused from error
        except httpx.TransportError as error:
            raise Unknown from error
        if answer.is_success:
            return answer
        if answer.status_code == 429:
            await asyncio.sleep(min(float(answer.headers.get("Retry-After", 1)), _LONGEST_PAUSE_SECONDS))
            raise Refused
        if answer.status_code >= 500:
            raise Unknown
        # Whom one follows is found by the copy of the accounts, which may not have arrived.
        if not (answer.status_code == 404 and path.endswith("/follow")):
            self.journal.surprises.append(f"{method} {path}: {answer.status_code} {answer.text[:300]}")
        raise Refused

    async def register(self) -> Account:
        username, password = f"p_{secrets.token_hex(8)}", secrets.token_urlsafe(12)
        form = {"username": username, "email": f"{username}@example.com", "name": "Nobody yet"}
        passwords = {"password": password, "password_confirm": password}
        body = (await self.ask("POST", f"{AUTH}/register", json={**form, **passwords})).json()
        account = Account(body["user"]["id"], username, body["access_token"])
        self.journal.note_acknowledged("auth.users", account.id, {"username": username, "name": form["name"]})
        return account

    async def rename(self, account: Account, name: str) -> None:
        state = {"username": account.username, "name": name}
        await self._change("auth.users", account.id, state, "PATCH", f"{AUTH}/users/me", account, json={"name": name})

    async def leave(self, account: Account) -> None:
        await self._change("auth.users", account.id, None, "DELETE", f"{AUTH}/users/me", account)

    async def tweet(self, author: Account, text: str) -> OwnTweet:
        body = (await self.ask("POST", f"{TWEETS}/tweets", author.bearer, json={"text": text})).json()
        self.journal.note_acknowledged("tweets", body["id"], {"text": text, "version": 1})
        return OwnTweet(body["id"], author)

    async def edit(self, tweet: OwnTweet, text: str) -> None:
        state = {"text": text, "version": tweet.version + 1}
        if_match = {"If-Match": f'"{tweet.version}"'}
        path = f"{TWEETS}/tweets/{tweet.id}"
        await self._change(
            "tweets", tweet.id, state, "PATCH", path, tweet.author, json={"text": text}, headers=if_match
        )
        tweet.version += 1

    async def delete(self, tweet: OwnTweet) -> None:
        """Likes of it go too, a moment later."""
        likes = [f"{tweet.id} {user_id}" for user_id in tweet.liked_by]
        try:
            await self._change("tweets", tweet.id, None, "DELETE", f"{TWEETS}/tweets/{tweet.id}", tweet.author)
        except Unknown:
            for like in likes:
                self.journal.note_uncertain("likes", like, None)
            raise
        for like in likes:
            self.journal.note_acknowledged("likes", like, None)

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

    async def _change(  # noqa: PLR0917 - a line of a table
        self, table: str, key: str, state: Any, method: str, path: str, account: Account, **request: Any
    ) -> None:
        """A write whose row is known: the journal learns what became of it."""
        try:
            await self.ask(method, path, account.bearer, **request)
        except Unknown:
            self.journal.note_uncertain(table, key, state)
            raise
        self.journal.note_acknowledged(table, key, state)


class Writer:
    """Does one thing after the other, with pauses of `pause` seconds on average. `turn` is held while it does one."""

    def __init__(self, client: Client, rng: random.Random, pause: float) -> None:
        self.turn = asyncio.Lock()
        self._client = client
        self._rng = rng
        self._pause = pause
        self._accounts: list[Account] = []
        self._tweets: list[OwnTweet] = []
        self._failures = 0

    async def run(self) -> None:
        while True:
            async with self.turn:
                try:
                    await self._something()
                    self._failures = 0
                except (Refused, Unknown):
                    self._failures += 1
            backoff = min(_FIRST_PAUSE_SECONDS * 2**self._failures, _LONGEST_PAUSE_SECONDS) if self._failures else 0
            await asyncio.sleep(backoff + self._rng.uniform(0, 2 * self._pause))

    async def _something(self) -> None:
        if len(self._accounts) < ACCOUNTS_EACH:
            self._accounts.append(await self._client.register())
            return
        if not self._tweets:
            await self._post()
            return
        # By how often, in a hundred.
        actions = {
            28: self._post,
            25: self._edit,
            17: self._turn_like,
            13: self._delete,
            9: self._rename,
            7: self._turn_follow,
            1: self._leave,
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

    async def _turn_like(self) -> None:
        """A like is given, taken back, given again: the same key, deleted and made anew."""
        account = self._rng.choice(self._accounts)

        async def turn(tweet: OwnTweet) -> None:
            liked = account.id in tweet.liked_by
            await (self._client.unlike(tweet, account) if liked else self._client.like(tweet, account))

        await self._with_tweet(turn)

    async def _turn_follow(self) -> None:
        follower, followee = self._rng.sample(self._accounts, 2)
        followed = followee.id in follower.followed
        try:
            await (self._client.unfollow if followed else self._client.follow)(follower, followee)
        except Unknown:
            self._forget(follower)
            raise

    async def _rename(self) -> None:
        account = self._rng.choice(self._accounts)
        try:
            await self._client.rename(account, f"Name {self._rng.randrange(10**9)}")
        except Unknown:
            self._forget(account)
            raise

    async def _leave(self) -> None:
        account = self._rng.choice(self._accounts)
        self._forget(account)
        await self._client.leave(account)

    async def _with_tweet(self, act: Callable[[OwnTweet], Awaitable[None]]) -> None:
        tweet = self._rng.choice(self._tweets)
        try:
            await act(tweet)
        except Unknown:
            self._tweets.remove(tweet)
            raise

    def _forget(self, account: Account) -> None:
        """Its likes and follows stay as they are, its tweets too."""
        self._accounts.remove(account)
        self._tweets = [
            tweet for tweet in self._tweets if tweet.author is not account and account.id not in tweet.liked_by
        ]

    def _text(self) -> str:
        return f"Thought {self._rng.randrange(10**12)} of #tandem, zu groß für 日本語"


@dataclass
class Writers:
    """All of them. `still` holds them in their pauses: no write of theirs is under way inside it."""

    all: list[Writer]
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def start(self) -> None:
        self._tasks = [asyncio.create_task(writer.run()) for writer in self.all]

    async def stop(self) -> None:
        """Raises what ended one of them before."""
        for task in self._tasks:
            task.cancel()
        for result in await asyncio.gather(*self._tasks, return_exceptions=True):
            if isinstance(result, Exception):
                raise result

    @asynccontextmanager
    async def still(self) -> AsyncIterator[None]:
        for writer in self.all:
            await writer.turn.acquire()
        try:
            yield
        finally:
            for writer in self.all:
                writer.turn.release()
