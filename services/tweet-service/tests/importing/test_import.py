"""What an import stores, and what a second one changes."""

import random
from pathlib import Path

import httpx
import pytest
from bson import ObjectId
from pymongo.database import Database

from benchmarks.tweet_dataset import documents as generated
from benchmarks.tweet_dataset import write_dataset
from support.import_target import ImportTarget, Json, counts_of, tweet
from support.jwt_issuer import Issuer
from tweet_service.importing.mapping import object_id


def test_tweet_is_stored_as_the_service_stores_its_own(target: ImportTarget) -> None:
    outcome = target.load(tweet(7, text="hi #Tandem @bob &amp; all", lang="en", in_reply_to_status_id=3))
    assert (outcome.code, outcome.counts, outcome.rejects) == (0, counts_of(inserted=1), [])
    stored = target.get(7)
    assert isinstance(stored.pop("import_digest"), bytes)
    assert stored.pop("created_at").isoformat() == "2010-09-02T18:11:23+00:00"
    assert stored == {
        "_id": object_id(7),
        "text": "hi #Tandem @bob & all",
        "author_id": "imported:42",
        "edited_at": None,
        "version": 1,
        "reply_to": object_id(3),
        "repost_of": None,
        "quote_of": None,
        "entities": {
            "hashtags": [{"tag": "Tandem", "start": 3, "end": 10}],
            "mentions": [{"username": "bob", "start": 11, "end": 15}],
            "urls": [],
        },
        "tags": ["tandem"],
        "ancestors": [object_id(3)],
        "lang": "en",
        "source": "web",
        "edits": [],
    }


async def test_imported_tweet_and_its_author_are_read_over_http(
    anonymous: httpx.AsyncClient, documents: Database[Json], database_url: str, tmp_path: Path
) -> None:
    target = ImportTarget(database_url, documents, tmp_path)
    target.load(
        tweet(7_001, user={"id": 77, "screen_name": "grace_2010", "name": "Grace"}),
        tweet(7_002, in_reply_to_status_id=7_001),
        tweet(7_003, retweeted_status=tweet(7_001)),
    )
    shown = (await anonymous.get(f"/v1/tweets/{object_id(7_001)}")).json()
    assert shown["author"] == {"id": "imported:77", "username": "grace_2010", "name": "Grace"}
    assert (shown["author_deleted"], shown["counts"]) == (False, {"likes": 0, "reposts": 1, "replies": 1})
    assert shown["created_at"] == "2010-09-02T18:11:23.000000Z"
    listed = (await anonymous.get("/v1/tweets", params={"author": "grace_2010"})).json()
    assert [each["id"] for each in listed["items"]] == [str(object_id(7_001))]


def test_repost_brings_its_original(target: ImportTarget) -> None:
    original = tweet(5, user={"id": 1, "screen_name": "bob", "name": "Bob"})
    outcome = target.load(
        tweet(8, text="RT @bob: number 5", retweeted_status=original), tweet(9, retweeted_status=original)
    )
    assert outcome.counts == counts_of(inserted=2, originals=1)
    assert [each["text"] for each in target.tweets()] == ["number 5", "RT @bob: number 5", "number 9"]
    assert target.get(8)["repost_of"] == object_id(5)
    counts = target.database["tweet_counts"].find_one({"_id": object_id(5)})
    assert counts == {"_id": object_id(5), "reposts": 2}


def test_tweet_of_its_own_goes_before_the_one_inside_another(target: ImportTarget) -> None:
    inside = tweet(5, text="as it was", user={"id": 1, "screen_name": "bob"})
    own = tweet(5, text="as it is", user={"id": 1, "screen_name": "bob"})
    assert target.load(tweet(8, retweeted_status=inside), own).counts == counts_of(inserted=2)
    assert target.get(5)["text"] == "as it is"
    # And stays, however often the other is seen.
    assert target.load(tweet(9, retweeted_status=inside)).counts == counts_of(inserted=1)
    assert target.get(5)["text"] == "as it is"


def test_profile_is_the_one_seen_last(target: ImportTarget) -> None:
    def by(number: int, name: str) -> Json:
        return tweet(number, user={"id": 42, "screen_name": name, "name": name.title()})

    target.load(by(1, "former"), by(9, "latest"), by(5, "between"), tweet(10, user={"id": 42}))
    target.load(by(4, "older"), batch=1)
    (profile,) = target.database["imported_profiles"].find()
    assert (profile["_id"], profile["username"], profile["name"]) == ("imported:42", "latest", "Latest")
    target.load(by(11, "renamed"))
    assert target.database["imported_profiles"].distinct("username") == ["renamed"]


def test_import_makes_no_account(target: ImportTarget) -> None:
    target.load(tweet(1))
    assert {"users", "users_copy"}.isdisjoint(target.database.list_collection_names())


def test_second_import_changes_nothing(target: ImportTarget) -> None:
    records = [
        tweet(1),
        tweet(2, in_reply_to_status_id=1),
        tweet(3, retweeted_status=tweet(1)),
        tweet(4, retweeted_status=tweet(0x100, id_str=None) | {"id": 2_000_000} | {"id": 3}),
        b"nonsense",
    ]
    first = target.load(*records)
    before = [
        list(target.database[name].find().sort("_id")) for name in ("tweets", "tweet_counts", "imported_profiles")
    ]
    second = target.load(*records, batch=2)
    after = [list(target.database[name].find().sort("_id")) for name in ("tweets", "tweet_counts", "imported_profiles")]
    assert after == before
    assert second.counts == counts_of(skipped=first.counts["inserted"], rejected=first.counts["rejected"])
    assert second.rejects == first.rejects


def test_changed_record_is_an_edit(target: ImportTarget) -> None:
    target.load(tweet(1), tweet(2), tweet(3))
    outcome = target.load(tweet(1), tweet(2, text="corrected"), tweet(3, source="elsewhere"))
    assert outcome.counts == counts_of(skipped=1, updated=2)
    assert target.get(1)["version"] == 1
    corrected, moved = target.get(2), target.get(3)
    assert (corrected["text"], corrected["version"]) == ("corrected", 2)
    assert corrected["edited_at"] is not None
    assert corrected["edits"] == [{"text": "number 2", "edited_at": corrected["edited_at"]}]
    assert (moved["source"], moved["version"], moved["edited_at"], moved["edits"]) == ("elsewhere", 2, None, [])


def test_changed_reference_changes_the_counts(target: ImportTarget) -> None:
    target.load(tweet(1), tweet(2), tweet(5, in_reply_to_status_id=1))
    target.load(tweet(5, in_reply_to_status_id=2))
    target.assert_counts_are_exact()
    target.assert_threads_are_whole()
    assert target.get(5)["ancestors"] == [object_id(2)]


@pytest.mark.parametrize("seed", range(6))
def test_threads_and_counts_are_right_in_whatever_order_and_parts_records_come(target: ImportTarget, seed: int) -> None:
    dice = random.Random(seed)  # noqa: S311 - no secret
    records = []
    for number in range(1, 60):
        more: Json = {}
        if number > 1 and dice.random() < 0.7:
            more["in_reply_to_status_id"] = dice.randrange(1, number)
        elif number > 1 and dice.random() < 0.5:
            more["retweeted_status"] = tweet(dice.randrange(1, number))
        records.append(tweet(number, **more))
    originals = {
        each["retweeted_status"]["id"]: each["retweeted_status"] for each in records if "retweeted_status" in each
    }
    dice.shuffle(records)
    cut = dice.randrange(1, len(records))
    for part in (records[:cut], records[cut:], records):
        target.load(*part, batch=dice.choice([1, 3, 20, 1000]))
        target.assert_counts_are_exact()
    assert len(target.tweets()) == 59
    assert originals
    target.assert_threads_are_whole()


async def test_replies_of_living_people_are_counted_and_kept_in_the_thread(
    ada: httpx.AsyncClient, documents: Database[Json], database_url: str, tmp_path: Path
) -> None:
    target = ImportTarget(database_url, documents, tmp_path)
    records = [tweet(8_001), tweet(8_002, in_reply_to_status_id=8_001), tweet(8_003, in_reply_to_status_id=8_002)]
    target.load(records[2])
    answer = await ada.post("/v1/tweets", json={"text": "yes", "reply_to": str(object_id(8_003))})
    assert answer.status_code == 201, answer.text
    for _ in range(2):
        target.load(*records)
    reply = documents["tweets"].find_one({"_id": ObjectId(answer.json()["id"])})
    assert reply is not None
    assert reply["ancestors"] == [object_id(number) for number in (8_001, 8_002, 8_003)]
    for number in (8_001, 8_002, 8_003):
        counts = documents["tweet_counts"].find_one({"_id": object_id(number)})
        assert counts is not None
        assert counts["replies"] == 1


async def test_deleted_tweet_that_is_imported_again_has_exact_counts(
    anonymous: httpx.AsyncClient, issuer: Issuer, documents: Database[Json], database_url: str, tmp_path: Path
) -> None:
    target = ImportTarget(database_url, documents, tmp_path)
    records = [tweet(9_001), tweet(9_002, in_reply_to_status_id=9_001)]
    target.load(*records)
    admin = {"Authorization": f"Bearer {issuer.token(sub='u-admin', role='admin')}"}
    assert (await anonymous.delete(f"/v1/tweets/{object_id(9_001)}", headers=admin)).status_code == 204
    assert target.load(*records).counts == counts_of(inserted=1, skipped=1)
    counts = documents["tweet_counts"].find_one({"_id": object_id(9_001)})
    assert counts == {"_id": object_id(9_001), "replies": 1}


@pytest.mark.long
def test_whole_dataset_arrives_row_by_row(target: ImportTarget) -> None:
    path = target.path / "tweets.json.gz"
    write_dataset(24_832, 1, path, is_canonical=True)
    outcome = target.load_file(path)
    assert (outcome.code, outcome.rejects) == (0, [])
    assert outcome.counts["inserted"] == 24_832

    stored = {document["_id"]: document for document in target.database["tweets"].find()}
    expected: dict[int, str] = {}
    for document in generated(24_832, 1, is_canonical=False):
        if "retweeted_status" in document:
            expected.setdefault(document["retweeted_status"]["id"], document["retweeted_status"]["text"])
        expected[document["id"]] = document["text"]
    assert len(stored) == len(expected) == 24_832 + outcome.counts["originals"]
    for number, text in expected.items():
        unescaped = text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
        assert stored[object_id(number)]["text"] == unescaped
    target.assert_counts_are_exact()
    target.assert_threads_are_whole()
    authors = set(target.database["tweets"].distinct("author_id"))
    assert authors == set(target.database["imported_profiles"].distinct("_id"))
