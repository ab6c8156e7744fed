import inspect

import sparsefeat_kernels


def test_all_is_complete_and_sorted() -> None:
    public = {
        name
        for name, value in vars(sparsefeat_kernels).items()
        if not name.startswith("_") and not inspect.ismodule(value)
    }
    assert sparsefeat_kernels.__all__ == sorted(public)


def test_every_public_function_has_an_example() -> None:
    for name in sparsefeat_kernels.__all__:
        assert ">>> " in (getattr(sparsefeat_kernels, name).__doc__ or ""), name
