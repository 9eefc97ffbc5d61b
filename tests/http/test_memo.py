"""The memo: what it remembers, from when on, for how long, and how little it holds whatever comes."""

import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterable

import pytest

from mreactor.http.memo import BYTES_MAX, ENTRIES_MAX, KEY_BYTES_MAX, SIGHTINGS, Memo

FIRST = SIGHTINGS


class Maker:
    """Makes values and counts how often it made each."""

    def __init__(self) -> None:
        self.made: Counter[object] = Counter()

    def __call__(self, key: object) -> str:
        self.made[key] += 1
        return f"made of {key!r}"


def memo_of_numbers(make: Callable[[int], str], key_bytes: int = 1) -> Memo[int, str]:
    return Memo(make, lambda key: key_bytes)


def look_up(memo: Memo[int, str], keys: Iterable[int], times: int = 1) -> None:
    """Look up keys in turn, each so many times."""
    for key in keys:
        for _ in range(times):
            assert memo[key] == f"made of {key!r}"


@pytest.fixture
def maker() -> Maker:
    return Maker()


# --- From when on. ---


@pytest.mark.parametrize(("sights", "made"), [(1, 1), (2, 2), (3, 2), (100, 2)])
def test_a_value_is_remembered_from_the_second_sight_on(maker: Maker, sights: int, made: int) -> None:
    memo: Memo[bytes, str] = Memo(maker)
    values = [memo[b"a key"] for _ in range(sights)]
    assert maker.made == {b"a key": made}
    assert len({id(value) for value in values[1:]}) <= 1, "from the second sight on it is one object"
    assert len(memo) == (sights > 1)


@pytest.mark.parametrize("value", [b"", "", 0, False, ()])
def test_a_value_may_be_false(value: object) -> None:
    calls = []
    memo: Memo[bytes, object] = Memo(lambda key: (calls.append(key), value)[1])
    assert [memo[b"key"] for _ in range(5)] == [value] * 5
    assert len(calls) == 2


def test_equal_keys_are_one_key(maker: Maker) -> None:
    memo: Memo[bytes, str] = Memo(maker)
    assert len({memo[bytes(bytearray(b"key"))] for _ in range(5)}) == 1
    assert maker.made.total() == 2


def test_what_is_raised_is_not_remembered(maker: Maker) -> None:
    fails = True

    def make(key: int) -> str:
        if fails:
            raise ValueError(key)
        return maker(key)

    memo = memo_of_numbers(make)
    for _ in range(5):
        with pytest.raises(ValueError, match=f"{FIRST}"):
            memo[FIRST]
    assert not memo
    fails = False
    look_up(memo, [FIRST], 5)
    assert maker.made == {FIRST: 2}, "a failure is no sight"


def test_keys_with_one_hash_keep_their_own_values(maker: Maker) -> None:
    other = FIRST + 2**61 - 1
    assert hash(other) == hash(FIRST)
    memo = memo_of_numbers(maker)
    for _ in range(5):
        look_up(memo, [FIRST, other])
    assert maker.made[FIRST] <= 2
    assert maker.made[other] == 1, "it is taken for one that came before, which only costs memory"


@pytest.mark.parametrize("others", [0, SIGHTINGS // 2, 10 * SIGHTINGS + 7])
def test_keys_that_come_in_turn_are_recognised_whatever_came_before(others: int) -> None:
    memo: Memo[bytes, bytes] = Memo(bytes)
    for number in range(others):
        memo[b"other %d" % number]
    keys = [b"key %d" % number for number in range(SIGHTINGS // 8)]
    for key in keys * 3:
        assert memo[key] == key
    # The sights may have been forgotten once among these.
    assert set(keys) == set(memo)


# --- For how long. ---


def test_what_is_used_once_in_a_generation_stays(maker: Maker) -> None:
    memo = memo_of_numbers(maker)
    used = range(FIRST, FIRST + 100)
    look_up(memo, used, 2)
    for flood in range(2 * FIRST, 2 * FIRST + 50 * ENTRIES_MAX, ENTRIES_MAX // 2):
        look_up(memo, range(flood, flood + ENTRIES_MAX // 2), 2)
        look_up(memo, used)
    assert {maker.made[key] for key in used} == {2}


def test_what_is_not_used_for_two_generations_is_forgotten(maker: Maker) -> None:
    memo = memo_of_numbers(maker)
    look_up(memo, [FIRST], 2)
    flood = range(2 * FIRST, 2 * FIRST + ENTRIES_MAX - 1)
    look_up(memo, flood, 2)
    assert len(memo) == ENTRIES_MAX, "the young generation is full"
    look_up(memo, [3 * FIRST], 2)
    assert len(memo) == 1, "and has become the old one"
    look_up(memo, [*flood[:10], FIRST])
    assert len(memo) == 12
    assert maker.made[FIRST] == 2, "from which an entry returns"
    look_up(memo, range(4 * FIRST, 4 * FIRST + 2 * ENTRIES_MAX), 2)
    look_up(memo, [FIRST])
    assert maker.made[FIRST] == 3


def test_what_never_repeats_drives_out_nothing(maker: Maker) -> None:
    memo = memo_of_numbers(maker)
    used = range(FIRST, FIRST + ENTRIES_MAX)
    look_up(memo, used, 2)
    look_up(memo, range(2 * FIRST, 2 * FIRST + 50_000))
    assert list(memo) == list(used)
    look_up(memo, used)
    assert {maker.made[key] for key in used} == {2}


# --- How little. ---


@pytest.mark.parametrize(
    ("key_bytes", "full"),
    [(1, ENTRIES_MAX), (BYTES_MAX // ENTRIES_MAX, ENTRIES_MAX), (KEY_BYTES_MAX, BYTES_MAX // KEY_BYTES_MAX)],
)
def test_a_generation_is_bounded_in_entries_and_in_bytes(maker: Maker, key_bytes: int, full: int) -> None:
    memo = memo_of_numbers(maker, key_bytes)
    sizes = []
    for key in range(FIRST, FIRST + 3 * full):
        look_up(memo, [key], 2)
        sizes.append(len(memo))
    assert sizes == list(range(1, full + 1)) * 3


def test_an_entry_that_returns_counts_again(maker: Maker) -> None:
    memo = memo_of_numbers(maker, KEY_BYTES_MAX)
    full = BYTES_MAX // KEY_BYTES_MAX
    look_up(memo, range(FIRST, FIRST + full), 2)
    for _ in range(3):
        look_up(memo, range(FIRST, FIRST + full + 1), 2)
        assert len(memo) <= full


@pytest.mark.parametrize(("size", "is_kept"), [(KEY_BYTES_MAX, True), (KEY_BYTES_MAX + 1, False), (1 << 20, False)])
def test_a_long_key_is_not_remembered(maker: Maker, size: int, is_kept: bool) -> None:
    memo: Memo[bytes, str] = Memo(maker)
    memo[b"short"], memo[b"short"]
    for _ in range(5):
        memo[b"k" * size]
    assert maker.made[b"k" * size] == (2 if is_kept else 5)
    assert b"short" in memo


@pytest.mark.parametrize("key_bytes", [8, 100, KEY_BYTES_MAX])
def test_the_keys_of_both_generations_fit_their_bound(key_bytes: int) -> None:
    """What the dict, the old dict, the set of hashes and their keys take, values left out."""
    tracemalloc.start()
    try:
        memo: Memo[bytes, bool] = Memo(lambda key: True)
        for number in range(8 * ENTRIES_MAX):
            for _ in range(2):
                memo[b"%0*d" % (key_bytes, number)]
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    entry_bytes_max = 160  # of a key beside its bytes, and of its place in a dict that has room to grow
    hash_bytes = 4 * 16 + 32  # of its place in a set that has room to grow, and of the int
    assert held < 2 * (BYTES_MAX + ENTRIES_MAX * entry_bytes_max) + SIGHTINGS * hash_bytes + 4096
