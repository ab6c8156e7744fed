"""`VGG16Features` in pipelines and checks of scikit-learn."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from skimage import data
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.svm import LinearSVC
from sklearn.utils.estimator_checks import check_estimator

import sparsefeat
from sparsefeat.sklearn import VGG16Features


class OfTables(VGG16Features):
    """Accepts the tables of scikit-learn's checks: the bytes of each row are an image."""

    def transform(self, X: Any) -> Any:  # noqa: N803
        rows = np.ascontiguousarray(X, np.float64)
        return super().transform([row.view(np.uint8).reshape(-1, 8) for row in rows])

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = True
        return tags


NOT_OF_IMAGES = {
    "check_estimator_sparse_tag": "fit looks at no image: nothing is learnt from them",
    "check_transformer_general": "it wants transform to refuse images of another size than those "
    "of fit, and images may have any size",
}


@pytest.fixture
def photos(tmp_path: Path) -> list[str]:
    """Crops of two images in turn."""
    paths = []
    for number in range(8):
        source = (data.astronaut(), data.coffee())[number % 2]
        crop = source[20 * number : 20 * number + 90, 10 * number : 10 * number + 90]
        paths.append(str(tmp_path / f"{number}.png"))
        Image.fromarray(np.ascontiguousarray(crop)).save(paths[-1])
    return paths


def transformer(model: Path, **options: object) -> VGG16Features:
    return VGG16Features(model, size=(64, 64), **options)  # type: ignore[arg-type]


def test_rows_equal_those_of_the_extractor(small_vgg16: Path, photos: list[str]) -> None:
    features = transformer(small_vgg16, layers="block4_pool,block5_pool").fit(photos)
    found = features.transform(photos)
    extractor = sparsefeat.Extractor(small_vgg16, "block4_pool,block5_pool", size=(64, 64))
    batches = list(extractor.extract(photos))
    expected = np.concatenate(
        [np.hstack([csr.toarray() for csr in batch.layers.values()]) for batch in batches]
    )
    np.testing.assert_array_equal(found.toarray(), expected)
    assert found.dtype == np.float32
    assert found.shape == (8, features.n_features_out_)
    names = features.get_feature_names_out()
    assert len(names) == found.shape[1]
    assert (names[0], names[-1].rpartition("_")[0]) == ("block4_pool_0", "block5_pool")


def test_arrays_folders_and_empty_lists_are_accepted(small_vgg16: Path, photos: list[str]) -> None:
    features = transformer(small_vgg16).fit(None)  # type: ignore[arg-type]
    arrays = np.stack([np.asarray(Image.open(path)) for path in photos])
    of_arrays, of_paths = features.transform(arrays), features.transform(photos)
    np.testing.assert_array_equal(of_arrays.toarray(), of_paths.toarray())
    of_folder = features.transform(str(Path(photos[0]).parent))
    np.testing.assert_array_equal(of_folder.toarray(), of_paths.toarray())
    assert features.transform([]).shape == (0, features.n_features_out_)


def test_it_works_in_a_pipeline(small_vgg16: Path, photos: list[str]) -> None:
    labels = ["astronaut", "coffee"] * 4
    pipeline = make_pipeline(transformer(small_vgg16, pool="avg"), LinearSVC(random_state=0))
    assert len(cross_val_score(pipeline, photos, labels, cv=2, error_score="raise")) == 2
    fitted = pipeline.fit(photos, labels)
    csr = transformer(small_vgg16, pool="avg").fit_transform(photos)
    alone = LinearSVC(random_state=0).fit(csr, labels)
    assert list(fitted.predict(photos)) == list(alone.predict(csr))
    again = pickle.loads(pickle.dumps(fitted))
    assert list(again.predict(photos)) == list(fitted.predict(photos))


def test_it_passes_scikit_learn_s_own_checks(small_vgg16: Path) -> None:
    results = check_estimator(
        OfTables(small_vgg16, size=(32, 32), threads=1),
        expected_failed_checks=NOT_OF_IMAGES,
        on_skip=None,
    )
    by_status: dict[str, set[str]] = {}
    for each in results:
        by_status.setdefault(each["status"], set()).add(each["check_name"])
    assert by_status["xfail"] == set(NOT_OF_IMAGES)
    # Depends on scikit-learn's version and on which array libraries are installed.
    assert by_status.get("skipped", set()) <= {"check_array_api_input"}
    assert by_status.keys() <= {"passed", "xfail", "skipped"}
    assert len(by_status["passed"]) > 30


def test_it_is_cloned_by_its_parameters(small_vgg16: Path) -> None:
    features = transformer(small_vgg16, layers="pools", pool="max")
    other = clone(features).set_params(pool="avg")
    assert (other.layers, other.pool, features.pool) == ("pools", "avg", "max")
    with pytest.raises(NotFittedError):
        other.transform([])


def test_an_image_that_cannot_be_read_is_an_error(small_vgg16: Path, photos: list[str]) -> None:
    features = transformer(small_vgg16).fit(photos)
    Path(photos[3]).write_text("no image")
    with pytest.raises(sparsefeat.InputError, match=r"3\.png"):
        features.transform(photos)
