"""Entities of texts in any script, as people write them."""

import pytest

from tweet_service.tweets.entities import extract


@pytest.mark.parametrize(
    ("text", "hashtags"),
    [
        ("#ශ\u0dca\u200dර\u0dd3ලංකා rocks", ["ශ\u0dca\u200dර\u0dd3ලංකා"]),
        ("#കണ\u0d4d\u200dണ\u0d42ര\u0d4d x", ["കണ\u0d4d\u200dണ\u0d42ര\u0d4d"]),
        ("#نرم\u200cافزار", ["نرم\u200cافزار"]),
        ("press #\ufe0f\u20e3 now", []),
        ("#\ufe0f\u20e3tag", []),
        ("#\u20e3tag", []),
        ("#\ufe0f\u20e3 tag", []),
        ("I ❤\ufe0f#Berlin", ["Berlin"]),
        ("I 😀#Berlin", ["Berlin"]),
        ("1\ufe0f\u20e3#first", ["first"]),
        ("#love❤\ufe0f", ["love"]),
        ("#ぼっち\u30fbざ\u30fbろっく", ["ぼっち\u30fbざ\u30fbろっく"]),
        ("#il\u00b7lusió", ["il\u00b7lusió"]),
        ("#צה\u05f4ל", ["צה\u05f4ל"]),
        ("#a/#b", ["a", "b"]),
        ("#a#b", ["a"]),
        ("今日は#東京", []),
        ("#C++", ["C"]),
        ("#וכו\u05f3 #བོད\u0f0bསྐད\u0f0b #メ\u301cテレ", ["וכו\u05f3", "བོད\u0f0bསྐད\u0f0b", "メ\u301cテレ"]),
        ("#東京\u30fb#大阪", ["東京", "大阪"]),
        ("example.org/#part x.org/a/#b", []),
        ("#http://x.org", []),
    ],
)
def test_hashtags(text: str, hashtags: list[str]) -> None:
    assert [found["tag"] for found in extract(text)["hashtags"]] == hashtags


@pytest.mark.parametrize(
    ("text", "mentions"),
    [
        ("✈\ufe0f@ada", ["ada"]),
        ("😀@ada", ["ada"]),
        (".@ada hello", ["ada"]),
        ("@adaさん\u3001こんにちは", ["ada"]),
        ("こんにちは@ada", ["ada"]),
        ("今日は@adaさんと", ["ada"]),
        ("交给@ada处理", ["ada"]),
        ("\uff20ada hi", ["ada"]),
        ("@ada/@bob", ["ada", "bob"]),
        ("@ada-like", ["ada"]),
        ("@ada's", ["ada"]),
        ("RT @ada: hi", ["ada"]),
        ("RT@ada: hi", ["ada"]),
        ("ada@example.com", []),
        ("@_@ tired", []),
        ("用户@example.com josé@ada", []),
        ("example.org/@ada", []),
        ("f!@kn f#@kn f$@kn f%@kn f&@kn f*@kn", []),
        ("part@ada aliceì@ada @adaì", []),
        ("@https://x.org", []),
    ],
)
def test_mentions(text: str, mentions: list[str]) -> None:
    assert [found["username"] for found in extract(text)["mentions"]] == mentions


@pytest.mark.parametrize(
    ("text", "urls"),
    [
        ("https://youtu.be/abcDEF1234_", ["https://youtu.be/abcDEF1234_"]),
        ("https://youtu.be/abcDEF1234-", ["https://youtu.be/abcDEF1234-"]),
        ("https://drive.example/d/1bwUnj-9_ ok", ["https://drive.example/d/1bwUnj-9_"]),
        ("https://example.com/~", ["https://example.com/~"]),
        ("https://example.com/*", ["https://example.com/*"]),
        ("https://developer.example/User#isUserAGoat()", ["https://developer.example/User#isUserAGoat()"]),
        ("(see http://example.com/foo().html).", ["http://example.com/foo().html"]),
        ("参照https://example.com/a\u3002", ["https://example.com/a"]),
        ("参照 https://example.com/a\u3002次", ["https://example.com/a"]),
        ("见 https://example.com/a\uff0c谢谢", ["https://example.com/a"]),
        ("\uff08https://example.com/a\uff09", ["https://example.com/a"]),
        ("\u300chttps://example.com/a\u300d", ["https://example.com/a"]),
        ("見てhttps://example.com/a", ["https://example.com/a"]),
        ("見て:https://example.com/a", ["https://example.com/a"]),
        ("https://example.comを見て", ["https://example.com"]),
        ("https://ja.wikipedia.org/wiki/日本", ["https://ja.wikipedia.org/wiki/日本"]),
        ("http://test.com/\u200b에서", ["http://test.com/"]),
        ("\u201chttps://example.com/a\u201d", ["https://example.com/a"]),
        ("\u00abhttps://example.com/a\u00bb", ["https://example.com/a"]),
        ("`https://example.com/a`", ["https://example.com/a"]),
        ("\u201ehttps://example.com/a\u201c", ["https://example.com/a"]),
        ("\u2018https://example.com/a\u2019", ["https://example.com/a"]),
        ("https://example.com/a|", ["https://example.com/a"]),
        ("https://example.com/a\u060c", ["https://example.com/a"]),
        ("https://example.com/a\u061f", ["https://example.com/a"]),
        ("https://example.com/a\u0964", ["https://example.com/a"]),
        ("https://example.com/a\uff01", ["https://example.com/a"]),
        ("https://example.com/a\u2014see", ["https://example.com/a"]),
        ("https://example.com/a\u200f", ["https://example.com/a"]),
        ("https://example.com/\u202egpj.exe", ["https://example.com/"]),
        ("https://example.com/\u0000x", ["https://example.com/"]),
        ("https://bücher.example/straße", ["https://bücher.example/straße"]),
        ("https://❤.ws/", ["https://❤.ws/"]),
        ("https://i❤\ufe0f.ws/", ["https://i❤\ufe0f.ws/"]),
        ("http://[::1]:8080/", ["http://[::1]:8080/"]),
        ("HTTPS://EXAMPLE.COM", ["HTTPS://EXAMPLE.COM"]),
        ("www.example.com", []),
        ("https://a.orghttps://b.org", ["https://a.org"]),
        ("https://a.org/x,https://b.org/y", ["https://a.org/x", "https://b.org/y"]),
        ("👉https://example.com/", ["https://example.com/"]),
        ("➡\ufe0fhttps://example.com/", ["https://example.com/"]),
        ("[text](https://example.com/a)", ["https://example.com/a"]),
        ("https://example.com/?a=1&b=2", ["https://example.com/?a=1&b=2"]),
        ("https://en.wikipedia.org/wiki/Barcelona_S.C.", ["https://en.wikipedia.org/wiki/Barcelona_S.C"]),
        ("https://example.com/a\u3000次", ["https://example.com/a"]),
        (
            "https://web.archive.org/web/2020/https://example.com/",
            ["https://web.archive.org/web/2020/https://example.com/"],
        ),
        ("x@http://a.org $http://b.org", []),
        ("https://fa.wikipedia.org/wiki/نرم\u200cافزار", ["https://fa.wikipedia.org/wiki/نرم\u200cافزار"]),
    ],
)
def test_urls(text: str, urls: list[str]) -> None:
    assert [found["url"] for found in extract(text)["urls"]] == urls
