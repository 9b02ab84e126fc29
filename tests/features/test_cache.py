"""The monthly cache: the same bits as without it, and a new day computes one month."""

import numpy as np
import pytest

from crucible.errors import StoreError
from crucible.features.cache import cached_features
from crucible.features.engine import compute_features
from crucible.market.bars import check_bars
from crucible.recipe import parse_recipe


@pytest.fixture
def bars(make_bars, recipe):
    return check_bars(make_bars(70 * 288, missing=(5000, 5001)), recipe.data.interval, "bars")


def equal(one, other):
    assert one.names == other.names
    assert np.array_equal(one.times, other.times)
    assert np.array_equal(one.close, other.close)
    assert np.array_equal(one.values, other.values, equal_nan=True)


def test_months_are_the_same_bits_and_are_computed_once(bars, recipe, tmp_path):
    first = cached_features(tmp_path, bars.slice(0, 69 * 288), recipe)
    assert (first.computed, first.read) == (3, 0)
    equal(first.frame, compute_features(bars.slice(0, 69 * 288), recipe))
    again = cached_features(tmp_path, bars.slice(0, 69 * 288), recipe)
    assert (again.computed, again.read) == (0, 3)
    equal(again.frame, first.frame)
    longer = cached_features(tmp_path, bars, recipe)  # a new day
    assert (longer.computed, longer.read) == (1, 2)
    equal(longer.frame, compute_features(bars, recipe))


def test_what_the_features_are_made_of_decides(bars, recipe, recipe_text, tmp_path):
    cached_features(tmp_path, bars, recipe)
    other = parse_recipe(recipe_text.replace('set = "core"\nversion = 2', 'set = "wide"\nversion = 1'), "r")
    assert cached_features(tmp_path, bars, other).computed == 3
    repaired = bars.to_pydict()
    repaired["volume"][100] += 1.0
    import pyarrow as pa

    changed = cached_features(tmp_path, pa.table(repaired, schema=bars.schema), recipe)
    assert (changed.computed, changed.read) == (1, 2)  # January; February looks back on other bars
    assert all(len(list(folder.iterdir())) <= 3 for folder in tmp_path.iterdir())


def test_a_damaged_month_is_named(bars, recipe, tmp_path):
    cached_features(tmp_path, bars, recipe)
    path = next(tmp_path.rglob("*.parquet"))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"is damaged .* computed anew"):
        cached_features(tmp_path, bars, recipe)
