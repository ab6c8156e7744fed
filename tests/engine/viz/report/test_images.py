import base64
import hashlib
import io
import shutil
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pytest
from PIL import Image, ImageOps

from sparsefeat.analysis import LayerZeros
from sparsefeat.images import encode_path
from sparsefeat.types import Layer
from sparsefeat.viz.report import find_outliers
from sparsefeat.viz.report.images import choose_ranking_layer, make_thumbnail, rank_rows, robust_z


def counted(name: str, per_row: list[int]) -> LayerZeros:
    return LayerZeros(
        layer=Layer(name=name, shape=(1000,)),
        per_row=np.array(per_row),
        per_channel=np.zeros(1000, np.int64),
        per_position=None,
        active_rows=None,
    )


def test_scores_are_standard_deviations_of_normal_numbers() -> None:
    # The median is 80 and the median distance 20, which is 0.6745 normal standard deviations.
    scores = robust_z(np.array([0, 40, 60, 80, 80, 80, 80, 100, 120, 800]))
    expected = [-2.698, -1.349, -0.6745, 0, 0, 0, 0, 0.6745, 1.349, 24.282]
    assert scores.tolist() == pytest.approx(expected)
    # The quartiles of normal numbers are 0.67449 deviations from their median.
    normal = NormalDist(500_000, 20_000)
    numbers = np.array([round(normal.inv_cdf(i / 1000)) for i in range(1, 1000)])
    expected = [normal.zscore(number) for number in numbers.tolist()]
    assert robust_z(numbers).tolist() == pytest.approx(expected, rel=2e-4)


def test_outliers_are_sorted_by_their_largest_score_and_name_its_layer() -> None:
    usual = [500, 501, 502, 503, 504, 505, 506, 507, 508, 509]
    counts = {
        "a": counted("a", [*usual, 900, 520]),
        "b": counted("b", [*usual, 300, 504]),
    }
    found = find_outliers(counts, [f"{row}.jpg" for row in range(12)])
    assert [outlier.row for outlier in found] == [10]
    (one,) = found
    assert (one.path, one.layer, one.zeros, one.layers) == ("10.jpg", "a", 0.9, ("a", "b"))
    assert one.z > 3.5
    low = find_outliers({"b": counts["b"]}, [""] * 12)[0]
    assert low.z < -3.5


def test_a_few_accidental_zeros_are_not_outliers() -> None:
    usual, few = [500, 502, 504, 506, 508] * 3, [0, 1, 2, 3, 4] * 3
    pre = {"a/pre": counted("a/pre", [*usual, 900])}
    assert find_outliers(pre, [""] * 16) == ()
    large = LayerZeros(
        layer=Layer(name="a", shape=(1_000_000,)),
        per_row=np.array([*few, 60]),
        per_channel=np.zeros(1_000_000, np.int64),
        per_position=None,
        active_rows=None,
    )
    assert find_outliers({"a": large}, [""] * 16) == ()
    assert [each.row for each in find_outliers({"a": counted("a", [*few, 60])}, [""] * 16)] == [15]
    halves = [3, 4] * 8
    assert find_outliers({"a": counted("a", [*halves, 7])}, [""] * 17) == ()


@pytest.mark.parametrize("per_row", [[1, 1, 1, 1, 1, 1, 1, 1, 900], [7] * 12 + [900], []])
def test_too_few_or_equal_images_have_no_outliers(per_row: list[int]) -> None:
    assert find_outliers({"a": counted("a", per_row)}, [""] * len(per_row)) == ()


def test_images_are_ranked_by_the_last_layer_in_which_they_differ() -> None:
    pools = {"block4_pool": counted("any", [3, 4]), "block5_pool": counted("any", [5, 4])}
    assert choose_ranking_layer(pools) == "block5_pool"
    assert choose_ranking_layer(pools | {"predictions": counted("any", [0, 0])}) == "block5_pool"
    assert choose_ranking_layer(pools | {"fc1/pre": counted("any", [0, 1])}) == "block5_pool"
    assert choose_ranking_layer({"fc1/pre": counted("any", [0, 1])}) == "fc1/pre"
    assert choose_ranking_layer({"a": counted("any", []), "b": counted("any", [])}) == "b"


def test_sparsest_and_densest_images_do_not_overlap() -> None:
    assert rank_rows(counted("any", [5, 9, 1, 7, 3]), 2) == ([1, 3], [2, 4])
    assert rank_rows(counted("any", [5, 9, 1, 7, 3]), 6) == ([1, 3], [2, 4])
    assert rank_rows(counted("any", [5]), 6) == rank_rows(counted("any", []), 6) == ([], [])


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def opened(src: str) -> Image.Image:
    start = "data:image/jpeg;base64,"
    assert src.startswith(start)
    content = base64.b64decode(src.removeprefix(start))
    assert len(content) < 20_000
    return Image.open(io.BytesIO(content))


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """An image that a camera stored sideways, in a folder with an unusual name."""
    from skimage import data

    path = tmp_path / "photos" / "50% off" / "é\udce9.jpg"
    path.parent.mkdir(parents=True)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(data.coffee()).save(path, exif=exif.tobytes(), quality=95)
    return path


def thumbnail_of(path: Path, **changes: str | Path) -> tuple[str, str]:
    root = path.parents[1]
    facts: dict[str, str | Path] = {
        "path": encode_path(f"{path.parent.name}/{path.name}"),
        "root": encode_path(str(root)),
        "sha256": digest(path) if path.is_file() else "",
    }
    made = make_thumbnail(**(facts | changes))  # type: ignore[arg-type]
    return made.src, made.missing


def test_a_thumbnail_is_small_upright_and_shows_the_same_image(photo: Path) -> None:
    src, missing = thumbnail_of(photo)
    assert missing == ""
    small = opened(src)
    assert small.size == (133, 200)
    upright = ImageOps.exif_transpose(Image.open(photo)).resize(small.size)
    apart = np.abs(np.asarray(small, float) - np.asarray(upright, float))
    assert apart.mean() < 6


def test_thumbnails_are_made_from_a_moved_folder(photo: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere"
    known = digest(photo)
    shutil.move(photo.parents[1], moved)
    assert thumbnail_of(photo, sha256=known) == ("", "no such file")
    src, _ = thumbnail_of(photo, sha256=known, images=moved)
    assert opened(src).size == (133, 200)


def test_a_changed_file_of_the_same_size_and_time_has_no_thumbnail(photo: Path) -> None:
    known = digest(photo)
    content = bytearray(photo.read_bytes())
    content[-100] ^= 1
    photo.write_bytes(content)
    assert thumbnail_of(photo, sha256=known) == ("", "the file changed since it was stored")


def test_a_missing_thumbnail_has_a_reason(photo: Path, tmp_path: Path) -> None:
    photo.write_bytes(b"no image")
    assert thumbnail_of(photo) == ("", "not an image")
    photo.unlink()
    assert thumbnail_of(photo) == ("", "no such file")
    photo.mkdir()
    assert thumbnail_of(photo) == ("", "a folder, not a file")
    assert make_thumbnail("", "", "").missing == "not from a file"


def test_a_tiny_image_is_not_enlarged(tmp_path: Path) -> None:
    path = tmp_path / "a" / "dot.png"
    path.parent.mkdir()
    Image.new("RGBA", (3, 1), (255, 0, 0, 0)).save(path)
    src, _ = thumbnail_of(path)
    assert opened(src).size == (3, 1)
    assert opened(src).getpixel((1, 0)) == (255, 255, 255)  # transparent, on white
