"""``import acda`` takes little beside PyTorch, and what it puts off for that is there when it is needed."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# Each takes from a tenth of a second to two.
HEAVY = (
    "torch._dynamo",
    "torch._inductor",
    "torch.utils.flop_counter",
    "sympy",
    "scipy",
    "numba",
    "triton",
    "torchvision",
)


def printed(code: str) -> str:
    """What a fresh process prints."""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_nothing_heavy_is_imported() -> None:
    """Nothing but what PyTorch itself imports."""
    code = (
        f"import sys, torch; before = set(sys.modules); import acda; print({{*{HEAVY}}} & (set(sys.modules) - before))"
    )
    assert printed(code) == "set()"


COUNT = """
coefficients, weight = torch.rand(1, 2, 3, 5, 5), torch.rand(4, 2, 2)
with FlopCounterMode(display=False) as counter:
    acda.adaptive_conv2d(torch.rand(1, 2, 5, 5), coefficients, torch.rand(3, 3, 3), weight, padding=1)
print(counter.get_total_flops())
"""
MACS = 25 * (2 * 3 * 9 + 2 * 2 * 9 + 4 * 2 * 2)  # of 25 pixels: atoms, atom convolution, coefficient convolution


@pytest.mark.slow
@pytest.mark.parametrize(
    "imports",
    [
        pytest.param("import acda\nfrom torch.utils.flop_counter import FlopCounterMode", id="later"),
        pytest.param("from torch.utils.flop_counter import FlopCounterMode\nimport acda", id="earlier"),
        pytest.param(
            "import acda, importlib.util\nassert importlib.util.find_spec('torch.utils.flop_counter')\n"
            "from torch.utils.flop_counter import FlopCounterMode",
            id="looked-for-before",
        ),
    ],
)
def test_flops_are_counted_whichever_comes_first(imports: str) -> None:
    assert printed(f"import torch\n{imports}\n{COUNT}") == str(2 * MACS)


@pytest.mark.slow
@pytest.mark.parametrize("imports", ["import acda\nimport torch._dynamo", "import torch._dynamo\nimport acda"])
def test_a_layer_compiles_as_one_graph_whichever_comes_first(imports: str) -> None:
    code = f"""
import torch
{imports}
layer = acda.ACDAConv2d(2, 3, 3, padding=1, hidden_channels=4).eval()
compiled, x = torch.compile(layer, fullgraph=True, backend="eager"), torch.rand(1, 2, 5, 5)
print(torch.equal(compiled(x), layer(x)))
"""
    assert printed(code) == "True"
