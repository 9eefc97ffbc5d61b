"""A mix of requests that looks like a recorded one: many clients, many routes, errors and new connections.

Plain values, the same in each run.
"""

import random
from collections.abc import Callable

from bench.kinds import BROWSER, COOKIE, HOST, TRACED, Kind, Traffic, kind, order

# Method, target, fields of its own and content.
type Request = tuple[str, str, tuple[str, ...], str]

SEED = 17
# The order in which the kinds come has 2,000 turns. Each kind that closes and each error has ten of them.
COMMON_KINDS, CLOSING_KINDS, ORDER_LENGTH, RARE_TURNS = 170, 20, 2000, 10
TRACED_SHARE = 0.7
# Clients with more fields than this are browsers and have cookies.
COOKIE_FIELDS_MIN = 8

WORDS = ("about", "garden", "kitchen", "lamps", "returns", "sale", "shoes", "terms", "toys", "winter")
FORM_FIELDS = ("Content-Type: application/x-www-form-urlencoded",)
CONTENT_FIELDS = ("Content-Type: application/json",)

ERRORS = (
    *(("GET", target, "") for target in ("/favicon.ico", "/wp-login.php", "/.env", "/users", "/hello/<number0>/x")),
    *(("GET", "/account", ""), ("GET", "/account?tab=<hex5>", "")),
    *(("POST", "/orders", '{"id": "<hex5>", "lines": ['), ("POST", "/orders", "order <hex5>")),
    ("DELETE", "/search?q=<hex5>", ""),
)

# Requests without errors, with their shares.
REQUESTS: dict[Callable[[random.Random], Request], int] = {
    lambda chance: ("GET", "/", (), ""): 8,
    lambda chance: ("GET", "/hello/<number0>", (), ""): 6,
    lambda chance: ("GET", f"/search?q=<hex5>+{chance.choice(WORDS)}&page=<number1>", (), ""): 14,
    lambda chance: ("GET", "/session", (), ""): 6,
    lambda chance: ("GET", f"/pages/{chance.choice(WORDS)}-{chance.randrange(100)}", (), ""): 18,
    lambda chance: ("GET", "/users/<number0>", (), ""): 14,
    lambda chance: ("GET", "/users/<number0>/orders?page=" + str(chance.randrange(1, 9)), (), ""): 8,
    lambda chance: ("POST", "/orders", CONTENT_FIELDS, order(chance.randrange(1, 12), "n" * chance.randrange(200))): 8,
    lambda chance: ("PUT", "/users/<number0>", CONTENT_FIELDS, '{"name": "User <hex5>", "active": false}'): 3,
    lambda chance: ("DELETE", "/orders/<number0>", (), ""): 2,
    lambda chance: ("POST", "/login", FORM_FIELDS, "name=<hex5>&password=<hex6>&next=%2Faccount"): 4,
    lambda chance: ("GET", "/account", ("Authorization: Bearer <session3><session4>",), ""): 4,
}

HTML = "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"
CHROME = "Mozilla/5.0 ({}) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36"
CHROME_HINTS = (
    'sec-ch-ua: "Google Chrome";v="131", "Chromium";v="131", "Not_A Brand";v="24"',
    "sec-ch-ua-mobile: ?0",
    "Sec-Fetch-Dest: document",
    "Sec-Fetch-Mode: navigate",
    "Sec-Fetch-Site: same-origin",
)
CLIENTS: tuple[tuple[str, ...], ...] = (
    BROWSER[1:],
    *(
        (
            *CHROME_HINTS,
            f'sec-ch-ua-platform: "{platform}"',
            "User-Agent: " + CHROME.format(system),
            HTML,
            f"Accept-Language: {language}",
            "Accept-Encoding: gzip, deflate, br, zstd",
            "Referer: https://shop.example.org/",
        )
        for platform, system, language in (
            ("Windows", "Windows NT 10.0; Win64; x64", "en-US,en;q=0.9"),
            ("macOS", "Macintosh; Intel Mac OS X 10_15_7", "en-GB,en;q=0.9"),
            ("Linux", "X11; Linux x86_64", "de-DE,de;q=0.9,en;q=0.8"),
        )
    ),
    (
        "User-Agent: Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 Safari/604.1",
        HTML,
        "Accept-Language: fr-FR,fr;q=0.9",
        "Accept-Encoding: gzip, deflate, br",
        "Sec-Fetch-Dest: document",
        "Sec-Fetch-Mode: navigate",
        "Sec-Fetch-Site: none",
    ),
    ("User-Agent: okhttp/4.12.0", "Accept: application/json", "Accept-Encoding: gzip", "X-App-Version: 7.3.1"),
    ("User-Agent: python-requests/2.32.3", "Accept: */*", "Accept-Encoding: gzip, deflate"),
    ("User-Agent: Go-http-client/1.1", "Accept-Encoding: gzip"),
    ("User-Agent: curl/8.11.0", "Accept: */*"),
    (
        "User-Agent: Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
        "Accept: text/html,application/xhtml+xml,application/signed-exchange;v=b3,application/xml;q=0.9,*/*;q=0.8",
        "From: googlebot(at)googlebot.com",
        "Accept-Encoding: gzip, deflate, br",
    ),
)


def mixed() -> Traffic:
    """Two hundred kinds in a fixed random order of 2,000: 5 % errors, and 10 % close their connection.

    The other kinds come as often as their rank allows, the first one most often (Zipf).
    """
    chance = random.Random(SEED)
    common = [mixed_kind(chance) for _ in range(COMMON_KINDS)]
    closing = [mixed_kind(chance, closes=True) for _ in range(CLOSING_KINDS)]
    errors = [kind(method, target, client(chance), content) for method, target, content in ERRORS]
    kinds = (*common, *closing, *errors)
    shares = [1 / rank for rank in range(1, COMMON_KINDS + 1)]
    rest = ORDER_LENGTH - COMMON_KINDS - RARE_TURNS * (CLOSING_KINDS + len(ERRORS))
    turns = [*range(COMMON_KINDS), *chance.choices(range(COMMON_KINDS), shares, k=rest)]
    turns += list(range(COMMON_KINDS, len(kinds))) * RARE_TURNS
    chance.shuffle(turns)
    return Traffic(kinds, tuple(turns))


def mixed_kind(chance: random.Random, *, closes: bool = False) -> Kind:
    """A random request of a random client."""
    (make,) = chance.choices(list(REQUESTS), list(REQUESTS.values()))
    method, target, own, content = make(chance)
    return kind(method, target, (*client(chance), *own), content, closes=closes)


def client(chance: random.Random) -> tuple[str, ...]:
    """The fields of a random client, behind a balancer and, for most services, a tracer."""
    fields = [HOST, *chance.choice(CLIENTS)]
    fields += [f"X-Forwarded-For: 203.0.113.{chance.randrange(256)}", "X-Forwarded-Proto: https", TRACED[0]]
    if chance.random() < TRACED_SHARE:
        fields.append(TRACED[1])
    if len(fields) > COOKIE_FIELDS_MIN:
        fields.append(COOKIE)
    return tuple(fields)
