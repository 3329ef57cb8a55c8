"""Networks as files for other programs, each compared with the network before it is kept."""

import copy
import importlib
import warnings
from collections.abc import Callable, Iterable
from io import BytesIO
from pathlib import Path
from traceback import walk_tb
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.utils._sympy.numbers import int_oo
from torch.utils._sympy.value_ranges import ValueRanges

from acda.models import contracts
from acda.ops import standard_operators
from lit_modules.errors import UsageError
from lit_modules.output import whole_file

Format = Literal["torch_export", "onnx"]
SUFFIXES: dict[Format, str] = {"torch_export": ".pt2", "onnx": ".onnx"}
OPSET = 20
TOLERANCE = 1e-4  # of the largest number in the outputs
_AXES = {0: "batch", 2: "height", 3: "width"}
_ONNX_PACKAGES = ("onnx", "onnxscript", "onnxruntime")
_BLOCK = 8  # pixels
_LEAST_SIZE = 48  # of the image that is traced: sizes of 1 within the network would be taken for fixed

Apply = Callable[[Tensor], Tensor]


class Exported(NamedTuple):
    """What was exported.

    Attributes:
        axes: Of the image: names of those of any size, sizes of the others.
        difference: Largest one between an output of the file and of the network.
        largest: Largest number in the network's outputs, without its sign.
    """

    axes: tuple[str, ...]
    difference: float
    largest: float


def check_packages(format: Format) -> None:
    """Make sure that what a format needs is installed.

    Raises:
        UsageError: If it is not; it says what to install.
    """
    missing = []
    for name in _ONNX_PACKAGES if format == "onnx" else ():
        try:
            importlib.import_module(name)
        except ImportError:
            missing.append(name)
    if missing:
        raise UsageError(f"format=onnx needs {', '.join(missing)}: pip install {' '.join(missing)}")


def export_network(
    network: nn.Module,
    path: Path,
    format: Format,
    image_size: int | None = None,
    in_channels: int | None = None,
    standard: bool = False,
) -> Exported:
    """Write a network to a file, with batches of any size and, where it takes them, images of any size.

    What is in the file is run, by onnxruntime or after ``torch.export.load``, on random images of three sizes, where
    the network takes them, one alone and several at once. A file that differs from the network by more than 1e-4 of its
    largest output is not kept, nor does it replace an earlier one.

    Args:
        network: Maps images ``[N, C, H, W]`` to a tensor. It is exported as it is in evaluation, on the CPU.
        path: The file.
        format: ``torch_export`` or ``onnx``.
        image_size: Side in pixels of the images to trace it with; None: its ``image_size``, else a multiple
            of its ``total_stride``.
        in_channels: C; None: that of its first convolution.
        standard: Make the layers' own operators of standard ones, so that the file loads without ``acda``; always so
            in ONNX.

    Returns:
        What was exported.

    Raises:
        UsageError: If it cannot be, or the file differs; it names the layer and the reason.
    """
    network = copy.deepcopy(network).cpu().eval()  # a copy forgets how it was compiled
    channels = find_input_channels(network) if in_channels is None else in_channels
    stride = contracts.total_stride(network)
    if image_size is None:
        image_size = contracts.image_size(network)
    side = max(3, -(-_LEAST_SIZE // stride)) * stride if image_size is None else image_size
    image = draw_images(2, channels, side, side)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what exporters replace in their own next release
        others = _try_other_sizes(network, image, stride)
        program = _trace(network, image, _AXES if others else {0: _AXES[0]})
        axes = _name_axes(program)
        if format == "onnx" or standard:
            program = program.run_decompositions(standard_operators())
        with whole_file(path) as unfinished:
            exported = _WRITERS[format](network, program, unfinished)
            difference, largest = _compare(network, exported, [image[:1], *(others or [image])])
    return Exported(axes, difference, largest)


def draw_images(number: int, channels: int, height: int, width: int) -> Tensor:
    """Draw images of blocks in random colours, with noise in them.

    Networks that look for something large give nothing for noise alone: a counter's density is 0 in all of it, and
    there would be nothing to compare.

    Args:
        number: How many, N.
        channels: C.
        height: H, in pixels.
        width: W, likewise.

    Returns:
        ``[N, C, H, W]``, of mean 0; blocks and noise have a standard deviation of 1 and a quarter.
    """
    blocks = torch.randn(number, channels, -(-height // _BLOCK), -(-width // _BLOCK))
    blocks = blocks.repeat_interleave(_BLOCK, 2).repeat_interleave(_BLOCK, 3)[..., :height, :width]
    return blocks + torch.randn(number, channels, height, width) / 4


def find_input_channels(network: nn.Module) -> int:
    """Find the channels of the images that a network takes: those of its first convolution, before any pixel-unshuffle.

    Raises:
        UsageError: If it has no convolution.
    """
    shuffled = 1
    for module in network.modules():
        if isinstance(module, nn.PixelUnshuffle):
            shuffled *= module.downscale_factor**2
        channels = getattr(module, "in_channels", None)
        if isinstance(channels, int):
            return channels // shuffled
    raise UsageError(f"{type(network).__name__} has no convolution that says what images it takes: set --in_channels")


def _trace(network: nn.Module, image: Tensor, axes: Iterable[int]) -> ExportedProgram:
    try:
        network(image)
    except Exception as error:
        raise UsageError(
            f"{type(network).__name__} does not take images {list(image.shape)}: {_locate(network, error)}"
            "\nSet --image_size and --in_channels to what it takes"
        ) from error
    try:
        return torch.export.export(network, (image,), dynamic_shapes=(dict.fromkeys(axes, Dim.AUTO),))
    except Exception as error:
        raise UsageError(f"{type(network).__name__} cannot be exported: {_locate(network, error)}") from error


def _locate(network: nn.Module, error: BaseException) -> str:
    """Find the layer that an error is about, and the first line of what started it.

    Args:
        network: The network.
        error: Raised in a layer's ``forward``, or while an exporter translated a node of the program.

    Returns:
        ``name (class): what``; without name and class if neither was the case.
    """
    names = {id(module): name for name, module in network.named_modules()}
    layer, root = "", error
    raised: BaseException | None = error
    while raised is not None:  # from the last one that was raised to the first
        for frame, _ in walk_tb(raised.__traceback__):
            layer = names.get(id(frame.f_locals.get("self"))) or _find_layer(frame.f_locals.get("node")) or layer
        raised = raised.__cause__ or raised.__context__
    while root.__cause__ is not None:
        root = root.__cause__
    what = next(iter(str(root).strip().splitlines()), type(root).__name__)
    return f"{layer} ({type(network.get_submodule(layer)).__name__}): {what}" if layer else what


def _find_layer(node: object) -> str | None:
    """Find the name of the layer that a node of a program stems from, if it is one."""
    stack = node.meta.get("nn_module_stack") if isinstance(node, torch.fx.Node) else None
    path: str | None = list(stack.values())[-1][0] if stack else None
    return path


def _name_axes(program: ExportedProgram) -> tuple[str, ...]:
    """Name the image's axes of any size, sizes of those that are fixed."""
    (name,) = program.graph_signature.user_inputs
    image = next(node for node in program.graph.nodes if node.name == name)
    sizes = enumerate(image.meta["val"].shape)
    return tuple(str(size) if isinstance(size, int) else _AXES[axis] for axis, size in sizes)


def _write_torch_export(network: nn.Module, program: ExportedProgram, path: Path) -> Apply:
    # They ask of every image what was so of the one that was traced: that a crop takes nothing away, that features are
    # larger than one pixel. What the program computes does not hang on it: it is compared on images where it is not so.
    program._guards_code = []
    for size in program.range_constraints:
        program.range_constraints[size] = ValueRanges(2, int_oo)  # which stands for 0 and 1 too
    content = BytesIO()  # of a path it wants to choose the suffix, and where a file cannot be written it aborts
    torch.export.save(program, content)
    path.write_bytes(content.getbuffer())
    with path.open("rb") as file:
        loaded: Apply = torch.export.load(file).module()
    return loaded


def _write_onnx(network: nn.Module, program: ExportedProgram, path: Path) -> Apply:
    try:
        converted = torch.onnx.export(
            program,
            input_names=["image"],
            output_names=["output"],
            dynamic_shapes={"image": _AXES},
            opset_version=OPSET,
            verbose=False,
        )
    except torch.onnx.errors.OnnxExporterError as error:
        raise UsageError(f"ONNX cannot express {_locate(network, error)}") from error
    assert converted is not None
    converted.save(path, external_data=False)
    session = importlib.import_module("onnxruntime").InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda image: torch.from_numpy(session.run(None, {"image": image.numpy()})[0])


_WRITERS: dict[Format, Callable[[nn.Module, ExportedProgram, Path], Apply]] = {
    "torch_export": _write_torch_export,
    "onnx": _write_onnx,
}


def _compare(network: nn.Module, exported: Apply, images: Iterable[Tensor]) -> tuple[float, float]:
    """Take the largest difference between what network and file give, and the largest number that the network gives."""
    wanted, got = [], []
    for batch in images:
        wanted.append(network(batch))
        try:
            got.append(exported(batch))
        except Exception as error:
            what = f"what was exported does not take images {list(batch.shape)}, which the network takes"
            raise UsageError(f"{what}: {_locate(network, error)}") from error
        if got[-1].shape != wanted[-1].shape:
            raise UsageError(f"what was exported gives {list(got[-1].shape)} instead of {list(wanted[-1].shape)}")
    every = torch.cat([output.flatten() for output in wanted])
    difference = float((torch.cat([output.flatten() for output in got]) - every).abs().max())
    largest = float(every.abs().max())
    if not difference <= TOLERANCE * largest:  # nor where it is no number
        raise UsageError(
            f"what was exported differs from the network by {difference:.1e}, where its outputs are up to {largest:.1e}"
        )
    return difference, largest


def _try_other_sizes(network: nn.Module, image: Tensor, stride: int) -> list[Tensor]:
    """Find batches of larger and smaller images: of no multiple of the network's stride if it takes such, else none."""
    _, channels, height, width = image.shape
    larger = 2 * height, 2 * width + stride  # far: some take a few sizes
    batches = []
    for images, (rows, columns) in ((3, larger), (1, (stride, stride))):
        for beyond in (1, 0):
            batch = draw_images(images, channels, rows + beyond, columns + beyond)
            try:
                network(batch)
            except Exception:
                continue
            batches.append(batch)
            break
    return batches
