"""How a CSV file is written: found where it tells, asked for where it doesn't."""

import pytest

from upstairs import UpstairsError
from upstairs.dialects import Csv, Dialect, find_dialect, read_header


def found(tmp_path, text, asked=Csv(), encoding="utf-8"):  # noqa: B008
    path = tmp_path / "t.csv"
    path.write_bytes(text.encode(encoding))
    return find_dialect(path, asked)


@pytest.mark.parametrize(
    "text, delimiter, decimal",
    [
        ("a,b\n1.5,2\n", ",", "."),
        ("a;b\n1,5;2\n", ";", ","),
        ("a;b\n1.5;2\n", ";", "."),
        ("a\tb\n1.234\t2\n", "\t", "."),
        ("a|b\nx,y|2\n", "|", "."),
        ("a, with unit;b;c\n1,5;2;1\n2,5;3;1\n", ";", ","),
        ("a;b\n1.234;0,5\n", ";", ","),
        ('a,b\n"1,234",0.5\n', ",", "."),
        ('a,b\n"1,234,567",2\n', ",", "."),
        ('a,b\n"1,5",2\n', ",", ","),
        ("a,b\n1.234,2.345\n", ",", "."),
        ("a\n1\n", ",", "."),
        ("day;b\n05.01.2024;7\n06.01.2024;8\n", ";", "."),
        ("name;b\nDr. A, Bonn;7,5\n", ";", ","),
    ],
)
def test_what_a_file_tells(text, delimiter, decimal, tmp_path):
    assert found(tmp_path, text) == Dialect("utf-8", delimiter, decimal)


@pytest.mark.parametrize(
    "text, message",
    [
        ("a;b\n1.234;2\n", r"holds '1.234' in 'a', which may be a thousand or a fraction: .* --decimal"),
        ('a,b\n"1,234",2\n', r"holds '1,234' in 'a', which may be a thousand or a fraction"),
        ("a;b\n1,5;2.5\n", r"holds '2.5' in 'b' and '1,5' in 'a': say which is the decimal sign, with --decimal"),
        ("a, with unit;b\n1,5;2\n", r"may have a comma or a semicolon between its columns: say which with --delimiter"),
        ("a;b|c\n1;2|3\n", r"may have a semicolon or a bar between its columns: say which with --delimiter"),
        ("\n\n", "is empty"),
    ],
)
def test_what_a_file_does_not_tell(text, message, tmp_path):
    with pytest.raises(UpstairsError, match=message):
        found(tmp_path, text)


def test_what_the_user_says_counts(tmp_path):
    assert found(tmp_path, "a;b\n1.234;2\n", Csv(decimal=",")).decimal == ","
    assert found(tmp_path, "a;b|c\n1;2|3\n", Csv(delimiter="|")).delimiter == "|"
    assert found(tmp_path, "a,b\n1\tx,2\n", Csv(delimiter="tab")).delimiter == "\t"


def test_encodings(tmp_path):
    text = "name,b\nMünchen,1.5\n"
    assert found(tmp_path, text, encoding="utf-8-sig").encoding == "utf-8"
    assert found(tmp_path, text, encoding="utf-16").encoding == "utf-16"
    assert found(tmp_path, text, Csv(encoding="cp1252"), "cp1252").encoding == "cp1252"
    with pytest.raises(UpstairsError, match=r"isn't UTF-8 text in line 2.*it reads 'München,1.5'.*--encoding cp1252"):
        found(tmp_path, text, encoding="latin-1")
    with pytest.raises(UpstairsError, match=r"isn't ascii text in line 2"):
        found(tmp_path, text, Csv(encoding="ascii"))
    with pytest.raises(UpstairsError, match="There is no encoding 'utf-9'"):
        found(tmp_path, text, Csv(encoding="utf-9"))


def test_only_the_start_is_looked_at(tmp_path):
    assert found(tmp_path, "a;b\n" + "1,5;2\n" * 300_000 + "x" * 10).decimal == ","


def test_header(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text('\ufeffstore ;"a;b";c\n1,5;2.5;3\n')
    assert read_header(path) == ["store", "a;b", "c"]
