import pytest

from sparsefeat.errors import InputError, PrecisionError, ProviderError
from sparsefeat.runtime import PRECISIONS, PROVIDERS, candidate_providers


def test_auto_considers_only_providers_with_the_precision() -> None:
    for precision in PRECISIONS:
        chosen = candidate_providers("auto", precision)
        assert chosen
        assert all(precision in provider.precisions for provider in chosen)


def test_a_requested_provider_is_the_only_candidate() -> None:
    for name, provider in PROVIDERS.items():
        for precision in provider.precisions:
            assert candidate_providers(name, precision) == (provider,)


@pytest.mark.parametrize(
    ("provider", "precision", "error", "says"),
    [
        ("tpu", "fp32", ProviderError, "auto, cpu, openvino, cuda"),
        ("cpu", "bf16", PrecisionError, "--provider openvino"),
        ("cuda", "int8", PrecisionError, "--provider cpu"),
        ("cpu", "fp8", InputError, "fp32, bf16, int8"),
    ],
)
def test_unknown_providers_and_precisions_are_refused(
    provider: str, precision: str, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        candidate_providers(provider, precision)  # type: ignore[arg-type]
