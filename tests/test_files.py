"""Tables in files: CSV and Parquet, as users have them."""

import pyarrow as pa
import pytest

from upstairs import UpstairsError, files


def test_types_are_decided_by_the_whole_csv_file(tmp_path):
    (tmp_path / "late.csv").write_text("a\n" + "1\n" * 700_000 + "1.5\n")
    assert files.read_table(tmp_path / "late.csv")["a"].type == pa.float64()


def test_text_that_is_not_utf8_is_said(tmp_path):
    (tmp_path / "latin.csv").write_bytes("a,b\n1,\xe9\n".encode("latin-1"))
    with pytest.raises(UpstairsError, match=r"latin\.csv isn't UTF-8 text in line 2"):
        files.read_table(tmp_path / "latin.csv")
    (tmp_path / "late.csv").write_bytes(b"a,b\n" + b"1,x\n" * 300_000 + b"1,\xe9\n")
    with pytest.raises(UpstairsError, match=r"late\.csv isn't UTF-8 text in column 'b'.*--encoding"):
        files.read_table(tmp_path / "late.csv")
    with pytest.raises(UpstairsError, match=r"late\.csv isn't UTF-8 text"):
        files.read_table(tmp_path / "late.csv", text=["b"])


def test_csv_dialects(tmp_path):
    (tmp_path / "semicolon.csv").write_text("\ufeffa;b\n1;x\n;NA\n")
    table = files.read_table(tmp_path / "semicolon.csv")
    assert table.to_pydict() == {"a": [1, None], "b": ["x", None]}


def test_row_numbers_that_pandas_wrote_are_no_columns(tmp_path):
    (tmp_path / "index.csv").write_text(",a\n0,5\n")
    assert files.read_table(tmp_path / "index.csv").column_names == ["a"]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_tables_come_back(suffix, tmp_path):
    table = pa.table({"store": ["007", "x"], "size": [1.5, None], "kind": ["a", "b"]})
    table = table.set_column(2, "kind", table["kind"].dictionary_encode())
    files.write_table(table, tmp_path / f"t{suffix}")
    back = files.read_table(tmp_path / f"t{suffix}", text=["store"])
    assert back.to_pydict() == table.to_pydict()
