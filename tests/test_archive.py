"""Files are whole or not there, and no damaged one does more than one clear sentence."""

import json
import os
import stat
import tracemalloc
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import upstairs
from dummy_learner import plain_pairs, same
from upstairs import UpstairsError, archive

# What is written is whole or not there.


def test_a_failed_save_leaves_the_old_file(meta, saved, monkeypatch, tmp_path):
    path = tmp_path / "m.upstairs"
    path.write_bytes(saved.read_bytes())

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(archive.os, "fsync", full)
    with pytest.raises(UpstairsError, match="can't be written: no space left on device"):
        upstairs.save(meta, path)
    assert path.read_bytes() == saved.read_bytes()
    assert [p.name for p in tmp_path.iterdir()] == ["m.upstairs"]


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_a_saved_file_has_the_user_s_permissions(meta, tmp_path):
    old = os.umask(0o027)
    try:
        upstairs.save(meta, tmp_path / "m.upstairs")
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "m.upstairs").stat().st_mode) == 0o640


# What is read is verified first.


def rewritten(saved, path, change_manifest=lambda m: None, **entries):
    """A copy of a saved file with a changed manifest and other contents of entries, its zip checksums right."""
    with zipfile.ZipFile(saved) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            content = entries.get(name, old.read(name))
            if name == "manifest.json":
                manifest = json.loads(content)
                change_manifest(manifest)
                content = json.dumps(manifest)
            if content is not None:
                new.writestr(name, content)
        for name in entries.keys() - set(old.namelist()):
            new.writestr(name, entries[name])
    return path


def test_a_newer_format_says_what_to_do(saved, tmp_path):
    path = rewritten(saved, tmp_path / "new.upstairs", lambda m: m.update(format=3, upstairs="9.0", learner="Unknown"))
    message = r"new.upstairs was written by a newer upstairs, 9.0 \(format 3; this one reads up to 1\): upgrade upstairs"
    with pytest.raises(UpstairsError, match=message):
        upstairs.load(path)


def altered_text(saved):
    with zipfile.ZipFile(saved) as old:
        return old.read("texts/state.members.0.text.txt").replace(b"tree", b"twig", 1)


def altered_arrays(saved):
    with zipfile.ZipFile(saved) as old:
        content = bytearray(old.read("state.safetensors"))
    content[-1] ^= 1
    return bytes(content)


DAMAGE = {
    "another learner": (lambda m: m.update(learner="os.system"), {}, "os.system"),
    "another type": (lambda m: m["state"].update(type="Info"), {}, "state doesn't hold"),
    "an unknown field": (lambda m: m["state"]["fields"].update(more=1), {}, "more"),
    "a missing field": (lambda m: m["state"]["fields"].pop("fold"), {}, "fold"),
    "a missing key": (lambda m: m.pop("state"), {}, "state is missing"),
    "an unknown parameter": (lambda m: m["params"].update(shell="rm"), {}, "shell"),
    "a wrong format": (lambda m: m.update(format="1"), {}, "format is '1'"),
    "an endless shape": (lambda m: m["known"]["fields"]["X"].update(shape=[2**40, 2**40]), {}, "known.X"),
    "an endless text": (lambda m: m["known"]["fields"]["ids"].update(dtype="<U99999999"), {}, "99,999,999 characters"),
    "another dtype": (lambda m: m["known"]["fields"]["y"].update(dtype="<i8"), {}, "known.y"),
    "a manifest that is a list": (None, {"manifest.json": b"[1]"}, "damaged"),
    "a deep manifest": (None, {"manifest.json": b"[" * 100_000}, "damaged"),
    "a manifest that isn't JSON": (None, {"manifest.json": b"{"}, "damaged"),
    "a foreign name": (lambda m: None, {"../evil": b""}, "an entry is named '../evil'"),
    "an absolute name": (lambda m: None, {"/etc/passwd": b""}, "an entry is named '/etc/passwd'"),
    "one entry more": (lambda m: None, {"texts/more.txt": b""}, "more.txt"),
    "no manifest": (None, {"manifest.json": None}, "manifest.json"),
    "no arrays": (lambda m: None, {"state.safetensors": None}, "state.safetensors"),
    "arrays that are none": (lambda m: None, {"state.safetensors": b"\xff" * 99}, "state.safetensors"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_file_says_so(name, saved, tmp_path):
    change, entries, message = DAMAGE[name]
    path = tmp_path / "bad.upstairs"
    if change is None:  # the manifest itself is replaced, so it can't be changed as JSON
        with zipfile.ZipFile(path, "w") as new:
            for entry, content in entries.items():
                if content is not None:
                    new.writestr(entry, content)
            new.writestr("state.safetensors", b"")
    else:
        rewritten(saved, path, change, **entries)
    with pytest.raises(UpstairsError, match=r"bad\.upstairs is damaged") as error:
        upstairs.load(path)
    assert message in str(error.value)


@pytest.mark.parametrize(
    "entry, alter", [("state.safetensors", altered_arrays), ("texts/state.members.0.text.txt", altered_text)]
)
def test_an_altered_entry_fails_its_checksum(entry, alter, saved, tmp_path):
    path = rewritten(saved, tmp_path / "bad.upstairs", **{entry: alter(saved)})
    with pytest.raises(UpstairsError, match=r"the checksum of .* doesn't match"):
        upstairs.load(path)


def test_files_that_are_no_models(tmp_path):
    with pytest.raises(UpstairsError, match="no such file"):
        upstairs.load(tmp_path / "missing.upstairs")
    with pytest.raises(UpstairsError, match="is a directory"):
        upstairs.load(tmp_path)
    (tmp_path / "text").write_text("hello")
    with pytest.raises(UpstairsError, match="File is not a zip file"):
        upstairs.load(tmp_path / "text")
    with zipfile.ZipFile(tmp_path / "deflated.zip", "w", zipfile.ZIP_DEFLATED) as bomb:
        bomb.writestr("manifest.json", bytes(50 * 2**20))
    with pytest.raises(UpstairsError, match="more than it can hold"):
        upstairs.load(tmp_path / "deflated.zip")


def test_a_claim_of_gigabytes_costs_nothing(saved, tmp_path):
    """An entry whose two sizes in the table of contents agree, yet are far beyond the file's."""
    content = bytearray(saved.read_bytes())
    entry = content.rindex(b"PK\1\2", 0, content.rindex(b"state.safetensors"))
    content[entry + 20 : entry + 28] = b"\xff\xff\xff\x7f" * 2
    (tmp_path / "bad.upstairs").write_bytes(content)
    tracemalloc.start()
    with pytest.raises(UpstairsError, match="claim more bytes than the file has"):
        upstairs.load(tmp_path / "bad.upstairs")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    return tmp_path_factory.mktemp("scratch") / "m.upstairs"


@settings(max_examples=500, deadline=None)
@given(mutation=st.data())
def test_no_mutation_does_more_than_one_sentence(mutation, meta, saved, scratch):
    """Bytes changed, inserted, or cut off: an UpstairsError, or (in a byte that nobody reads, as a date) the same model."""
    content = bytearray(saved.read_bytes())
    for _ in range(mutation.draw(st.integers(1, 3))):
        # the table of contents stands at the end; half of the mutations go there
        place = mutation.draw(
            st.one_of(st.integers(0, len(content) - 1), st.integers(max(0, len(content) - 900), len(content) - 1))
        )
        kind = mutation.draw(st.sampled_from(["change", "big", "insert", "cut"]))
        mutate(content, place, kind, mutation.draw(st.binary(min_size=1, max_size=8)))
    check_harmless(content, meta, scratch)


@pytest.mark.exhaustive
def test_a_hundred_thousand_mutations_do_no_more(meta, saved, scratch):
    whole, rng = saved.read_bytes(), np.random.default_rng(0)
    for _ in range(100_000):
        content = bytearray(whole)
        for _ in range(rng.integers(1, 4)):
            first = max(0, len(content) - 900) if rng.random() < 0.5 else 0
            place, kind = int(rng.integers(first, len(content))), ("change", "big", "insert", "cut")[rng.integers(4)]
            mutate(content, place, kind, rng.bytes(rng.integers(1, 9)))
        check_harmless(content, meta, scratch)


def mutate(content, place, kind, some):
    if kind == "change":
        content[place : place + 1] = some[:1]
    elif kind == "big":
        content[place : place + 4] = b"\xff\xff\xff\x7f"
    elif kind == "insert":
        content[place:place] = some
    else:
        del content[max(1, place) :]


def check_harmless(content, meta, scratch):
    scratch.write_bytes(content)
    tracemalloc.start()
    try:
        back = upstairs.load(scratch)
    except UpstairsError as error:
        assert "m.upstairs" in str(error)
    else:
        same(plain_pairs(meta.state_), back.state_)
        same(meta.known_, back.known_)
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < max(10 * len(content), 2**20), f"{peak:,} bytes for a file of {len(content):,}"
