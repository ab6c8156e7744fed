import subprocess
import sys


def test_without_pytorch_the_error_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import sparsefeat\n"
        "try:\n    import sparsefeat.torch\n"
        "except sparsefeat.MissingDependencyError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'sparsefeat[torch]'" in done.stdout
    assert done.stdout.count("\n") == 1
