"""VGG16 features as a scikit-learn transformer."""

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from sparsefeat.errors import InputError
from sparsefeat.images import ImageInput, each_image
from sparsefeat.pipeline import Extractor
from sparsefeat.system import importing

with importing("sklearn", "pip install scikit-learn"):
    from sklearn.base import BaseEstimator, TransformerMixin
    from sklearn.utils.validation import check_is_fitted

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Images = str | os.PathLike[str] | Iterable[ImageInput]


class VGG16Features(TransformerMixin, BaseEstimator):  # type: ignore[misc]  # without types
    """Transforms images to a sparse matrix of features, as the first step of a pipeline.

    Parameters
    ----------
    model
        Path of a model file written by ``sparsefeat export``.
    layers, pool, size, preprocess, provider, precision, threads, batch_size
        As for `sparsefeat.ExtractorOptions`. The features of several layers are concatenated.

    Attributes
    ----------
    extractor_
        The `sparsefeat.Extractor` that `fit` made.
    n_features_out_
        Number of columns of the result of `transform`.

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.svm import LinearSVC
    >>> from sparsefeat.sklearn import VGG16Features
    >>> classifier = make_pipeline(VGG16Features("vgg16.onnx", pool="avg"), LinearSVC())
    >>> classifier.fit(["cat.jpg", "dog.jpg"], ["cat", "dog"])  # doctest: +SKIP
    """

    def __init__(
        self,
        model: str | os.PathLike[str] = "vgg16.onnx",
        *,
        layers: str = "block5_pool",
        pool: str = "none",
        size: tuple[int, int] | None = None,
        preprocess: str = "keras",
        provider: str = "cpu",
        precision: str | None = None,
        threads: int | None = None,
        batch_size: int | None = None,
    ) -> None:
        self.model = model
        self.layers = layers
        self.pool = pool
        self.size = size
        self.preprocess = preprocess
        self.provider = provider
        self.precision = precision
        self.threads = threads
        self.batch_size = batch_size

    def fit(self, X: Images, y: object = None) -> Self:  # noqa: N803  # scikit-learn's name
        """Load the model; nothing is learned from the images.

        Raises
        ------
        ModelError, LayerError, ProviderError, PrecisionError, InputError
            As for `sparsefeat.Extractor`.
        """
        options = self.get_params(deep=False)
        self.extractor_ = Extractor(options.pop("model"), **options)
        layers = self.extractor_.layers.values()
        self.n_features_out_ = sum(layer.n_features for layer in layers)
        return self

    def transform(self, X: Images) -> "csr_array[np.float32]":  # noqa: N803
        """Extract the features of images.

        Parameters
        ----------
        X
            Paths of images, a folder, uint8 RGB arrays (H, W, 3) or one array (N, H, W, 3), PIL
            images, or the bytes of files.

        Returns
        -------
        scipy.sparse.csr_array
            float32 (images, features), a row for each image.

        Raises
        ------
        InputError, SourceError
            An image can't be read and would have no row.
        """
        from scipy.sparse import csr_array, hstack, vstack

        check_is_fitted(self, "extractor_")
        extractor: Extractor = self.extractor_
        rows = [
            hstack([csr.to_scipy() for csr in batch.layers.values()], format="csr")
            for batch in extractor.extract(each_image(X), errors="raise")
            if batch.rows
        ]
        if not rows:
            rows = [csr_array(np.zeros((0, self.n_features_out_), np.float32))]
        matrix: csr_array[np.float32] = csr_array(vstack(rows, format="csr"))
        return matrix

    def get_feature_names_out(self, input_features: object = None) -> npt.NDArray[np.object_]:
        """Return a name for each column: the layer's name and the element's number."""
        check_is_fitted(self, "extractor_")
        if input_features is not None and not hasattr(input_features, "__len__"):
            raise InputError(
                f"got input_features={input_features!r}, expected None or a list: leave it out"
            )
        layers = self.extractor_.layers.values()
        names = [name for layer in layers for name in layer.feature_names]
        return np.array(names, object)

    def __sklearn_tags__(self) -> Any:
        """Tell scikit-learn that the input is images, not a table, and that nothing is learned."""
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.three_d_array = True
        tags.input_tags.string = True
        tags.transformer_tags.preserves_dtype = []  # float32, whatever the images are
        tags.no_validation = True
        return tags
