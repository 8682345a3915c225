import asyncio, json, sys, time, secrets, signal
from pathlib import Path
import pymongo, psutil, listening
from listening import Listener
from issuing import AUDIENCE, ISSUER, serving_issuer
from replicas import running_processes
from tweet_service.tweets.service import new_tweet


async def test_probe(stack, mongodb_url):
    with serving_issuer() as issuer, pymongo.MongoClient(mongodb_url, tz_aware=True) as client:
        name = "probe"
        db = client[name]
        url = mongodb_url.replace("/?", f"/{name}?")
        env = {
            "MONGODB_URL": url,
            "AUTH_JWKS_URL": issuer.url,
            "AUTH_ISSUER": ISSUER,
            "AUTH_AUDIENCE": AUDIENCE,
            "TWEET_STREAM_BACKLOG": "5000",
        }
        db.users_copy.insert_one({"_id": "u", "username": "ada", "name": "Ada"})
        async with running_processes("tweet-service", 1, stack, **env) as (r,):
            a = r.client.base_url
            l = await Listener.connect(a.host, a.port, "/v1/stream")
            db.tweets.insert_one(dict(new_tweet("u", "x")))
            e = await l.event()
            pos = e.id
            # throughput
            docs = [dict(new_tweet("u", "hello #tag")) for _ in range(20000)]
            t = time.time()
            ins = asyncio.create_task(asyncio.to_thread(db.tweets.insert_many, docs))
            for d in docs:
                assert (await l.event(60)).data["id"] == str(d["_id"])
            print("20k heard after", time.time() - t)
            await ins
            l.close()
            # herd behind 20k? just last 500
            mid = None
        for missed in (200, 2000):
            async with running_processes("tweet-service", 1, stack, **env) as (r,):
                a = r.client.base_url
                l = await Listener.connect(a.host, a.port, "/v1/stream")
                db.tweets.insert_one(dict(new_tweet("u", "x")))
                pos = (await l.event()).id
                l.close()
            db.tweets.insert_many([dict(new_tweet("u", "y")) for _ in range(missed)])
            async with running_processes("tweet-service", 1, stack, **env) as (r,):
                a = r.client.base_url
                p = psutil.Process(r._process.pid)
                m = p.memory_info().rss
                t = time.time()
                c0 = p.cpu_times().user
                proc = await asyncio.create_subprocess_exec(
                    sys.executable,
                    listening.__file__,
                    a.host,
                    str(a.port),
                    f"/v1/stream?last_event_id={pos}&limit={missed}",
                    "1000",
                    stdout=asyncio.subprocess.PIPE,
                )
                async with asyncio.timeout(40):
                    print(await proc.stdout.readline(), "connected after", time.time() - t)
                    arr = json.loads(await proc.stdout.readline())
                    print("first", arr["first"] - t, "last first event", arr["last"] - t)
                    await proc.wait()
                    print(
                        "herd",
                        missed,
                        "all",
                        time.time() - t,
                        "cpu",
                        p.cpu_times().user - c0,
                        "rss",
                        (p.memory_info().rss - m) / 1e6,
                    )
                    for line in (await r.client.get("/metrics")).text.splitlines():
                        if "resumed_total{" in line or "dropped_total " in line:
                            print(line)
        client.drop_database(name)
