from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from crucible.errors import SchemaError, StoreError
from crucible.validation.predictions import read_predictions, read_score_file, write_predictions


def test_predictions_survive_their_file(recipe, make_oos, tmp_path):
    oos, _ = make_oos(recipe, rows=100)
    write_predictions(tmp_path / "p.parquet", oos)
    again = read_predictions(tmp_path / "p.parquet")
    for name in ("times", "fold", "close", "y_true"):
        assert np.array_equal(getattr(again, name), getattr(oos, name)), name
    assert list(again.y_pred) == list(oos.y_pred)
    assert all(np.array_equal(again.y_pred[name], oos.y_pred[name]) for name in oos.y_pred)
    assert again.times.dtype == np.dtype("datetime64[us]")
    assert pq.read_schema(tmp_path / "p.parquet").field("time").type == pa.timestamp("us", "UTC")
    assert [path.name for path in tmp_path.iterdir()] == ["p.parquet"]


def test_equal_predictions_are_equal_bytes(recipe, make_oos, tmp_path):
    for name in ("a", "b"):
        write_predictions(tmp_path / name, make_oos(recipe, rows=100)[0])
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_columns_of_unequal_length_are_refused(recipe, make_oos):
    oos, _ = make_oos(recipe, rows=100)
    with pytest.raises(SchemaError, match=r"equal length.*ridge \(99,\)"):
        replace(oos, y_pred={"ridge": oos.y_pred["ridge"][1:]})


@pytest.mark.parametrize("damage", ["bytes", "absent", "columns"])
def test_a_damaged_file_says_what_to_do(damage, tmp_path):
    path = tmp_path / "p.parquet"
    if damage == "bytes":
        path.write_bytes(b"PAR1 nothing")
    elif damage == "columns":
        pq.write_table(pa.table({"time": [1], "pred_ridge": [0.1]}), path)
    with pytest.raises(StoreError, match="materialise `walk_forward` again"):
        read_predictions(path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("y_true,other\n1,2\n", "has no column 'y_pred'; it has y_true, other"),
        ("y_true,y_pred,y_pred\n1,2,3\n", "has 2 columns 'y_pred'"),
        ("y_true,y_pred\n1,up\n", "column 'y_pred' holds string, not numbers"),
        ("y_true,y_pred\n1.0,2.0\n1.0,nan\n", "not a finite number in row 1"),
        ("y_true,y_pred\n1.0,2.0\n1.0,\n", "not a finite number in row 1"),
        ("y_true,y_pred\n1.0,2.0\n-inf,0\n", "'y_true' is not a finite number in row 1"),
        ("y_true,y_pred\n1.0,2.0\n1.0\n", "neither Parquet nor CSV"),
        ("y_true,y_pred\n", "has no rows"),
        ("", "neither Parquet nor CSV"),
        (b"y_tr\xffue,y_pred\n1,2\n", "neither Parquet nor CSV|no column"),
    ],
)
def test_bad_score_files_are_one_sentence(tmp_path, text, words):
    (tmp_path / "s.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(SchemaError, match=words) as caught:
        read_score_file(tmp_path / "s.csv")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"y_true": [1.0], "other": [2.0]}, "has no column 'y_pred'"),
        ({"y_true": [1.0, None], "y_pred": [2.0, 3.0]}, "'y_true' is not a finite number in row 1"),
        ({"y_true": [True], "y_pred": [2.0]}, "holds bool, not numbers"),
        ({"y_true": pa.array([], pa.float64()), "y_pred": pa.array([], pa.float64())}, "has no rows"),
    ],
)
def test_bad_parquet_files_are_one_sentence(tmp_path, columns, words):
    pq.write_table(pa.table(columns), tmp_path / "s.parquet")
    with pytest.raises(SchemaError, match=words):
        read_score_file(tmp_path / "s.parquet")


def test_what_is_no_file_is_one_sentence(tmp_path):
    (tmp_path / "s.parquet").write_bytes(b"PAR1 nothing")
    for name, words in (
        ("s.parquet", "neither"),
        ("absent.parquet", "There is no file"),
        ("absent.csv", "There is no"),
    ):
        with pytest.raises(SchemaError, match=words):
            read_score_file(tmp_path / name)


def test_any_number_type_is_read(tmp_path):
    table = pa.table({"y_pred": pa.array([0.5, -0.25], pa.float32()), "y_true": pa.array([2**60 + 1, -3])})
    pq.write_table(table, tmp_path / "s.parquet")
    y_true, y_pred = read_score_file(tmp_path / "s.parquet")
    assert (y_true.dtype, y_pred.dtype) == (np.float64, np.float64)
    assert y_true.tolist() == [2.0**60, -3.0]
    assert y_pred.tolist() == [0.5, -0.25]
