"""Events arrive once, in order, filtered."""

import asyncio
import re

from support.jwt_issuer import Issuer
from support.replicas import Replica
from support.tweet_stream import Author, Documents, Listen, ids


async def test_tweets_edits_and_deletions_arrive_as_they_happen(
    service: Replica, author: Author, listen: Listen
) -> None:
    listener = await listen()

    posted = await author.post("Hello #Tandem")
    arrived = await listener.event()
    assert (arrived.event, arrived.data) == ("tweet", posted)

    edited = await author.edit(posted, "Hello again\n#Tandem")
    arrived = await listener.event()
    assert (arrived.event, arrived.data) == ("edit", edited)
    assert arrived.data["version"] == 2

    await author.delete(posted)
    arrived = await listener.event()
    assert (arrived.event, arrived.data) == ("delete", {"id": posted["id"]})
    assert arrived.id == listener.last_id


async def test_earlier_events_do_not_arrive(author: Author, listen: Listen) -> None:
    other = await listen()
    await author.post()
    await other.event()
    listener = await listen()
    after = await author.post()
    assert (await listener.event()).data["id"] == after["id"]


async def test_response_is_not_buffered_or_cached(listen: Listen) -> None:
    listener = await listen()
    assert listener.status == 200
    assert listener.headers["content-type"].startswith("text/event-stream")
    assert listener.headers["cache-control"] == "no-cache"
    assert listener.headers["x-accel-buffering"] == "no"
    assert "ratelimit" in listener.headers
    opening = await listener.message()
    assert opening is not None
    assert re.fullmatch(r"retry: \d+\nid: [0-9A-F]+", opening.text)


async def test_filters_are_combined_and_deletions_reach_all_subscribers(
    service: Replica, author: Author, issuer: Issuer, documents: Documents, listen: Listen
) -> None:
    other = Author(service.client, issuer, documents)
    by_author = await listen(f"author={author.username}")
    by_tag = await listen("hashtag=%23STRA%E1%BA%9EE")
    by_both = await listen(f"author={author.username}&hashtag=strasse")

    tagged = await author.post("#Straße")
    plain = await author.post("no tag")
    foreign = await other.post("#straße")
    retagged = await author.edit(plain, "#strasse")
    await other.delete(foreign)

    assert await ids(by_author, 4) == [tagged["id"], plain["id"], retagged["id"], foreign["id"]]
    assert await ids(by_tag, 4) == [tagged["id"], foreign["id"], retagged["id"], foreign["id"]]
    assert await ids(by_both, 3) == [tagged["id"], retagged["id"], foreign["id"]]


async def test_unknown_author_is_not_found(listen: Listen) -> None:
    refused = await listen("author=nobody-of-this-name")
    assert (refused.status, (await refused.body())["code"]) == (404, "user-not-found")


async def test_invalid_token_is_refused(listen: Listen) -> None:
    refused = await listen(Authorization="Bearer nonsense")
    assert (refused.status, (await refused.body())["code"]) == (401, "invalid-token")


async def test_invalid_document_does_not_stop_the_stream(author: Author, documents: Documents, listen: Listen) -> None:
    listener = await listen()
    stored = documents["tweets"].insert_one({"author_id": author.id, "text": None})
    posted = await author.post()
    assert (await listener.event()).data["id"] == posted["id"]
    documents["tweets"].delete_one({"_id": stored.inserted_id})


async def test_stream_ends_after_so_many_events_or_seconds(author: Author, listen: Listen) -> None:
    limited, brief = await listen("limit=2"), await listen("seconds=0.2")
    author.store(3)
    assert len(await ids(limited, 2)) == 2
    async with asyncio.timeout(120):
        assert await limited.message() is None
        while await brief.message() is not None:
            pass
