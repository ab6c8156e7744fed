"""scikit-learn learns from a store of several parts, at once and batch by batch."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.decomposition import IncrementalPCA, TruncatedSVD
from sklearn.linear_model import SGDClassifier
from sklearn.neighbors import NearestNeighbors
from sklearn.svm import LinearSVC

from sparsefeat.store import Store
from sparsefeat.types import Layer

from ..data import make_batch, write_store

ROWS = 90
POOL = Layer(name="block5_pool", shape=(3, 3, 32))
CLASSES = ["folder 0", "folder 1", "folder 2"]


def labelled_rows(layer: Layer, numbers: Sequence[int]) -> npt.NDArray[np.float32]:
    """Make rows in which images of one kind activate the same third of the channels."""
    out = np.zeros((len(numbers), 9, layer.n_channels), np.float32)
    for index, number in enumerate(numbers):
        drawn = np.random.default_rng(number)
        fires = (np.arange(layer.n_channels) % 3 == number % 3) & (drawn.random((9, 1)) < 0.6)
        noise = drawn.random(out[index].shape) < 0.03
        out[index] = np.where(fires | noise, drawn.random(out[index].shape) + 0.5, 0)
    return out.reshape(len(numbers), -1)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("sklearn") / "features"
    write_store(
        folder, [make_batch(range(ROWS), [POOL], make=labelled_rows)], [POOL], rows_per_part=40
    )
    store = Store(folder)
    assert len(store.parts) == 3
    assert {part.layers["block5_pool"].encoding for part in store.parts} == {"csr"}
    return store


@pytest.fixture(scope="module")
def labels(store: Store) -> npt.NDArray[np.object_]:
    labels: npt.NDArray[np.object_] = store.obs["label"].to_numpy()
    return labels


def test_a_linear_classifier_learns_the_labels(
    store: Store, labels: npt.NDArray[np.object_]
) -> None:
    training, test = np.arange(0, ROWS, 2), np.arange(1, ROWS, 2)
    svm = LinearSVC(random_state=0).fit(store["block5_pool"][training], labels[training])
    assert svm.score(store["block5_pool"][test], labels[test]) == 1
    dense = LinearSVC(random_state=0).fit(
        store["block5_pool"].to_numpy(training).reshape(len(training), -1), labels[training]
    )
    np.testing.assert_allclose(svm.coef_, dense.coef_, rtol=1e-3, atol=1e-4)


def test_a_classifier_learns_batch_by_batch(store: Store, labels: npt.NDArray[np.object_]) -> None:
    svm = SGDClassifier(random_state=0)
    training = store.where("height % 2 == 0")
    n_batches = 0
    for rows, csr in store["block5_pool"].batches(training, memory=4000):
        svm.partial_fit(csr, labels[rows], classes=CLASSES)
        n_batches += 1
    assert n_batches > 5
    test = store.where("height % 2 == 1")
    assert svm.score(store["block5_pool"][test], labels[test]) == 1


def test_singular_vectors_equal_those_of_the_dense_matrix(store: Store) -> None:
    csr = store["block5_pool"].to_scipy()
    svd = TruncatedSVD(5, algorithm="arpack", random_state=0).fit(csr)
    expected = np.linalg.svd(csr.toarray().astype(np.float64), compute_uv=False)[:5]
    np.testing.assert_allclose(svd.singular_values_, expected, rtol=1e-4)


def test_principal_components_are_found_batch_by_batch(store: Store) -> None:
    pca, expected = IncrementalPCA(2, batch_size=30), IncrementalPCA(2, batch_size=30)
    for _, maps in store["block5_pool"].dense_batches(batch_size=30):
        pca.partial_fit(maps.mean(axis=(1, 2)))
    expected.fit(store["block5_pool"].to_numpy().mean(axis=(1, 2)))
    np.testing.assert_allclose(pca.components_, expected.components_, rtol=1e-4, atol=1e-5)
    assert pca.explained_variance_ratio_.sum() > 0.5  # three kinds span a plane


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_nearest_neighbours_are_of_the_same_kind(
    store: Store, labels: npt.NDArray[np.object_], metric: str
) -> None:
    near = NearestNeighbors(n_neighbors=4, metric=metric).fit(store["block5_pool"])
    distances, rows = near.kneighbors(store["block5_pool"][[5, 88]])
    assert rows[:, 0].tolist() == [5, 88]
    np.testing.assert_allclose(distances[:, 0], 0, atol=1e-3)
    if metric == "cosine":
        assert (labels[rows] == labels[[5, 88]][:, None]).all()


def test_paths_of_neighbours_are_found_in_obs(store: Store) -> None:
    near = NearestNeighbors(n_neighbors=1).fit(store["block5_pool"])
    for rows, csr in store["block5_pool"].batches(memory=20_000):
        found = near.kneighbors(csr, return_distance=False)[:, 0]
        assert store.obs["path"].iloc[found].tolist() == store.obs["path"].iloc[rows].tolist()
