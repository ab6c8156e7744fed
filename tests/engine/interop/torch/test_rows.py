import numpy as np
import pytest
from scipy.sparse import csr_array

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from sparsefeat.interop.torch import csr_tensor  # noqa: E402
from sparsefeat.torch import collate  # noqa: E402

DENSE = np.array([[0, 1, 2], [0, 0, 0], [3, 0, 0]], np.float32)


def test_a_matrix_becomes_a_sparse_tensor_without_copying() -> None:
    matrix = csr_array(DENSE)
    tensor = csr_tensor(matrix)
    assert tensor.layout == torch.sparse_csr
    assert tensor.dtype == torch.float32
    assert tensor.col_indices().dtype == torch.int32
    np.testing.assert_array_equal(tensor.to_dense().numpy(), DENSE)
    matrix.data[0] = 9
    assert tensor.to_dense()[0, 1] == 9
    np.testing.assert_array_equal((tensor @ torch.eye(3)).numpy(), matrix.toarray())


def test_sparse_samples_become_one_tensor() -> None:
    samples = [csr_tensor(csr_array(DENSE[[row]])) for row in (2, 0, 1, 0)]
    batch = collate(samples)
    assert batch.layout == torch.sparse_csr
    np.testing.assert_array_equal(batch.to_dense().numpy(), DENSE[[2, 0, 1, 0]])
    np.testing.assert_array_equal(collate(samples[:1]).to_dense().numpy(), DENSE[[2]])


def test_collate_keeps_labels() -> None:
    sparse, labels = collate([(csr_tensor(csr_array(DENSE[[row]])), row) for row in (2, 0)])
    assert sparse.shape == (2, 3)
    assert labels.tolist() == [2, 0]
    assert labels.dtype == torch.int64
    dense, labels = collate([(torch.from_numpy(DENSE[row]), row) for row in (1, 2)])
    np.testing.assert_array_equal(dense.numpy(), DENSE[1:])
    assert labels.tolist() == [1, 2]


def test_sparse_csr_tensors_give_no_beta_warning() -> None:
    # PyTorch warns once per process; the import has suppressed it, and warnings are errors here.
    torch.sparse_csr_tensor(torch.tensor([0, 1]), torch.tensor([0]), torch.ones(1))
