"""Generates datasets that resemble MongoDB's `sample_training.tweets`, for tests and benchmarks of the import.

As in the original: a day of 2010, ids in order of time, 19 fields of which most are null; one tweet in twelve is a
repost that contains the original. The texts are random. `python -m benchmarks.tweet_dataset --help` shows the options.
"""

import argparse
import contextlib
import gzip
import math
import random
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any, TypeVar

import msgspec

from tweet_service.importing.extended_json import MONTHS

ValueT = TypeVar("ValueT")
Document = dict[str, Any]


def _words(text: str) -> list[str]:
    return text.split()


_FIRST_ID = 22_819_396_000
_IDS_A_SECOND = 640
_FIRST_MOMENT = datetime(2010, 9, 2, 18, 0, tzinfo=UTC)
_TWEETS_A_SECOND = 14
_ORIGINALS_BEFORE = 200_000  # in ids
_ORIGINALS = 900

_WORDS = _words(
    "the a of to and in my your this that so just now new good best love time day night home work life music game team "
    "really never always still again today tomorrow people world coffee train rain summer school movie song photo "
    "que para como muito não está porque hoje amanhã até mañana corazón fútbol jamais être déjà für über schön "
    "сегодня очень хорошо спасибо 今日 本当 ありがとう 東京 재미있다 오늘 مرحبا اليوم สวัสดี 😀 ❤ 👍🏽"
)
_TAGS = _words(
    "music followfriday nowplaying fail jobs sports tech fb travel brasil música 音楽 новости 2010recap tcot"
)
_FIRST_NAMES = _words(
    "Ada Alan Barbara Carlos Dilma Edsger Frances Grace Hedy Ivan João José Katherine Linus Mary 太郎 Ольга"
)
_LAST_NAMES = _words("Lovelace Turing Liskov Silva Dijkstra Allen Hopper Lamarr Souza Pérez Johnson Nguyễn 田中 Müller")
_SOURCES = (
    "web",
    '<a href="http://www.tweetdeck.com" rel="nofollow">TweetDeck</a>',
    '<a href="http://twitter.com/" rel="nofollow">Twitter for iPhone</a>',
    '<a href="http://blackberry.com/twitter" rel="nofollow">Twitter for BlackBerry®</a>',
    '<a href="http://twitterfeed.com" rel="nofollow">twitterfeed</a>',
    '<a href="http://www.example.org/tom&amp;co" rel="nofollow">Tom &amp; Co</a>',
)
_ZONES = ("Eastern Time (US & Canada)", "Brasilia", "London", "Tokyo", "Santiago")
_COLORS = ("9ae4e8", "C0DEED", "131516", "EDECE9", "FFFFFF")
_DAYS = _words("Mon Tue Wed Thu Fri Sat Sun")


def write_dataset(count: int, seed: int, path: Path | None, *, is_canonical: bool) -> None:
    """Write one tweet per line to a file (gzipped if its name ends in .gz) or to stdout. Raises `OSError`."""
    encode = msgspec.json.Encoder().encode
    with _opened(path) as out:
        for document in documents(count, seed, is_canonical=is_canonical):
            out.write(encode(document) + b"\n")


@contextlib.contextmanager
def _opened(path: Path | None) -> Iterator[IO[bytes] | gzip.GzipFile]:
    if path is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
    elif path.suffix == ".gz":
        # Without a name and a time in the header the same arguments give the same bytes.
        with (
            path.open("wb") as raw,
            gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0, compresslevel=6) as out,
        ):
            yield out
    else:
        with path.open("wb") as out:
            yield out


def documents(count: int, seed: int, *, is_canonical: bool) -> Iterator[Document]:
    """`count` tweets. A shorter dataset is the beginning of a longer one with the same seed."""
    generator = _Generator(seed, is_canonical=is_canonical)
    for number in range(count):
        yield generator.tweet(number)


class _Dice:
    """Uses only `random()`, the generator of Python that guarantees the same numbers in all versions."""

    def __init__(self, seed: int | str) -> None:
        self._random = random.Random(seed).random  # noqa: S311 - not a secret

    def below(self, limit: int) -> int:
        return int(self._random() * limit)

    def pick(self, choice: Sequence[ValueT]) -> ValueT:
        return choice[self.below(len(choice))]

    def happens(self, probability: float) -> bool:
        return self._random() < probability

    def few(self, most: int) -> int:
        """Mostly small numbers, like those of followers and reposts."""
        return int(math.exp(self._random() * math.log(most + 1))) - 1

    def rank(self, limit: int) -> int:
        """Mostly low ranks."""
        return min(limit - 1, self.few(limit))


class _Generator:
    def __init__(self, seed: int, *, is_canonical: bool) -> None:
        self._seed = seed
        self._is_canonical = is_canonical
        self._originals: dict[int, Document] = {}

    def tweet(self, number: int) -> Document:
        dice = _Dice(f"{self._seed}/{number}")
        time = _FIRST_MOMENT + timedelta(seconds=number // _TWEETS_A_SECOND)
        original = self._original(dice.rank(_ORIGINALS)) if dice.happens(0.082) else None
        return self._document(dice, self._id(number), time, number, original)

    def _id(self, number: int) -> int:
        step = _IDS_A_SECOND // _TWEETS_A_SECOND
        return _FIRST_ID + number * step + _Dice(f"{self._seed}/id/{number}").below(step)

    def _original(self, rank: int) -> Document:
        if rank not in self._originals:
            dice = _Dice(f"{self._seed}/original/{rank}")
            time = _FIRST_MOMENT - timedelta(seconds=1 + dice.below(80_000))
            tweet_id = _FIRST_ID - _ORIGINALS_BEFORE + rank * (_ORIGINALS_BEFORE // _ORIGINALS)
            self._originals[rank] = self._document(dice, tweet_id, time, 0, None)
        return self._originals[rank]

    def _document(self, dice: _Dice, tweet_id: int, time: datetime, number: int, original: Document | None) -> Document:
        user = self._user(self._user_id(tweet_id))
        parent = self._parent(dice, number) if original is None else None
        text = _Text(dice, self._int)
        if original is not None:
            text.add("RT")
            text.mention(original["user"]["screen_name"], original["user"]["name"], original["user"]["id"], after=":")
        elif parent is not None:
            text.mention(parent[1], parent[1].title(), self._long(parent[2]))
        text.ramble(6 if original is not None else 4 + dice.below(16))
        entities = text.entities
        document: Document = {
            "_id": {"$oid": f"5c8eccb0caa187d17ca{tweet_id % 16**5:05x}"},
            "text": text.written,
            "in_reply_to_status_id": None if parent is None else self._long(parent[0]),
            "retweet_count": None if original is None else self._int(dice.few(100)),
            "contributors": None,
            "created_at": _twitter_date(time),
            "geo": None,
            "source": dice.pick(_SOURCES),
            "coordinates": None,
            "in_reply_to_screen_name": None if parent is None else parent[1],
            "truncated": False,
            "entities": entities,
            "retweeted": False,
            "place": None,
            "user": user,
            "favorited": False,
            "in_reply_to_user_id": None if parent is None else self._long(parent[2]),
            "id": self._long(tweet_id),
        }
        if dice.happens(0.01):
            point = {"type": "Point", "coordinates": [self._double(dice.below(18000) / 100 - 90), self._double(-46.63)]}
            document["geo"] = document["coordinates"] = point
        if original is not None:
            document["retweeted_status"] = original
        return document

    def _parent(self, dice: _Dice, number: int) -> tuple[int, str, int] | None:
        """A tweet of this dataset or an older one to reply to: its id, and the name and id of its author."""
        if not dice.happens(0.2):
            return None
        if number and dice.happens(0.5):
            parent = max(0, number - 1 - dice.few(2000))
            user_id = self._user_id(self._id(parent))
            return self._id(parent), f"user_{user_id}", user_id
        return _FIRST_ID - _ORIGINALS_BEFORE - 1 - dice.below(10**6), f"user{dice.below(99999)}", 1 + dice.below(10**8)

    def _user_id(self, tweet_id: int) -> int:
        """The author of a tweet; some write many."""
        return 10_000 + _Dice(f"{self._seed}/author/{tweet_id}").few(180_000_000)

    def _user(self, user_id: int) -> Document:
        dice = _Dice(f"{self._seed}/user/{user_id}")
        first, last = dice.pick(_FIRST_NAMES), dice.pick(_LAST_NAMES)
        name = f"{first} {last}"
        color = dice.pick(_COLORS)
        joined = datetime(2007, 1, 1, tzinfo=UTC) + timedelta(seconds=dice.below(100_000_000))
        return {
            "friends_count": self._int(dice.few(5000)),
            "profile_sidebar_fill_color": color,
            "location": dice.pick(("", "São Paulo", "London", "NYC", "東京")),
            "verified": False,
            "follow_request_sent": None,
            "favourites_count": self._int(dice.few(2000)),
            "profile_sidebar_border_color": color,
            "profile_image_url": f"http://a1.twimg.com/profile_images/{user_id}/photo_normal.jpg",
            "geo_enabled": dice.happens(0.3),
            "created_at": _twitter_date(joined),
            "description": " ".join(dice.pick(_WORDS) for _ in range(dice.below(16))),
            "time_zone": dice.pick(_ZONES),
            "url": f"http://example.org/{user_id}" if dice.happens(0.4) else None,
            "screen_name": f"user_{user_id}",
            "notifications": None,
            "profile_background_color": color,
            "listed_count": self._int(dice.few(200)),
            "lang": dice.pick(("en", "en", "pt", "es", "ja")),
            "profile_background_image_url": "http://s.twimg.com/a/1283397887/images/themes/theme1/bg.png",
            "statuses_count": self._int(dice.few(90_000)),
            "following": None,
            "profile_text_color": "333333",
            "protected": False,
            "show_all_inline_media": False,
            "profile_background_tile": dice.happens(0.3),
            "name": name,
            "contributors_enabled": False,
            "profile_link_color": "0084B4",
            "followers_count": self._int(dice.few(100_000)),
            "id": self._long(user_id),
            "profile_use_background_image": True,
            "utc_offset": self._int(-3600 * dice.below(12)),
        }

    def _int(self, number: int) -> Any:
        return {"$numberInt": str(number)} if self._is_canonical else number

    def _long(self, number: int) -> Any:
        return {"$numberLong": str(number)} if self._is_canonical else number

    def _double(self, number: float) -> Any:
        return {"$numberDouble": repr(number)} if self._is_canonical else number


class _Text:
    """Builds a text with the entities that Twitter finds in it. Offsets count code points of the escaped text."""

    def __init__(self, dice: _Dice, integer: Any) -> None:
        self._dice = dice
        self._integer = integer
        self.written = ""
        self.entities: dict[str, list[Document]] = {"user_mentions": [], "urls": [], "hashtags": []}

    def add(self, word: str) -> list[Any]:
        """Returns the indices of the word."""
        begin = len(self.written) + bool(self.written)
        self.written = f"{self.written} {word}" if self.written else word
        return [self._integer(begin), self._integer(begin + len(word))]

    def mention(self, username: str, name: str, user_id: Any, after: str = "") -> None:
        indices = self.add(f"@{username}")
        self.written += after
        self.entities["user_mentions"].append(
            {"name": name, "id": user_id, "screen_name": username, "indices": indices}
        )

    def ramble(self, words: int) -> None:
        for _ in range(words):
            if len(self.written) > 110:
                return
            if self._dice.happens(0.03):
                tag = self._dice.pick(_TAGS)
                self.entities["hashtags"].append({"text": tag, "indices": self.add(f"#{tag}")})
            elif self._dice.happens(0.02):
                url = f"http://bit.ly/{self._dice.below(16**6):06x}"
                self.entities["urls"].append({"expanded_url": None, "indices": self.add(url), "url": url})
            elif self._dice.happens(0.01):
                self.add(self._dice.pick(("&amp;", "&lt;3", "-&gt;")))
            else:
                self.add(self._dice.pick(_WORDS))


def _twitter_date(time: datetime) -> str:
    """In English, independent of the locale."""
    return f"{_DAYS[time.weekday()]} {MONTHS[time.month - 1]} {time:%d %H:%M:%S} +0000 {time.year}"


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.tweet_dataset",
        description="Write a dataset that resembles MongoDB's sample_training.tweets. "
        "The same arguments give the same bytes.",
    )
    parser.add_argument("--count", metavar="N", type=int, required=True, help="number of tweets")
    parser.add_argument("--seed", metavar="S", type=int, default=1, help="seed of the generator (default: %(default)s)")
    parser.add_argument("--output", metavar="FILE", type=Path, help="file instead of stdout; gzipped if it ends in .gz")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument(
        "--canonical", dest="is_canonical", action="store_true", default=True, help="canonical Extended JSON (default)"
    )
    kind.add_argument("--relaxed", dest="is_canonical", action="store_false", help="relaxed Extended JSON")
    arguments = parser.parse_args()
    try:
        write_dataset(arguments.count, arguments.seed, arguments.output, is_canonical=arguments.is_canonical)
    except BrokenPipeError:
        # The reader has closed the pipe, as `head` does.
        sys.stderr.close()
    except OSError as error:
        sys.exit(f"error: {error.filename or arguments.output}: {error.strerror or error}")


if __name__ == "__main__":
    main()
