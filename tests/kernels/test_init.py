import inspect

import sparsefeat_kernels


def test_the_table_of_contents_is_complete_and_sorted() -> None:
    public = {
        name
        for name, value in vars(sparsefeat_kernels).items()
        if not name.startswith("_") and not inspect.ismodule(value)
    }
    assert sparsefeat_kernels.__all__ == sorted(public)


def test_everything_public_shows_an_example() -> None:
    for name in sparsefeat_kernels.__all__:
        assert ">>> " in (getattr(sparsefeat_kernels, name).__doc__ or ""), name
