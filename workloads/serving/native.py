"""A compiled layer, called through AOTInductor's C interface: other threads of Python run meanwhile.

torch's own binding holds the interpreter's lock while a layer computes (torch/csrc/inductor/aoti_package/pybind.cpp in
2.15), so the event loop would wait for a layer at each of its sends, several in every step.
"""

import ctypes
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

_TORCH: Any = torch._C
_HANDLES = _TORCH._aoti  # made by torch for callers of the C interface
_OUTSIDE = "extern_kernel_nodes"  # operators that the code itself does not know how to call
# of constants: those in use are set, and none may be missing
_IN_USE, _ALL = ctypes.c_bool(False), ctypes.c_bool(True)

_pointer_of = ctypes.pythonapi.PyCapsule_GetPointer
_pointer_of.argtypes, _pointer_of.restype = [ctypes.py_object, ctypes.c_char_p], ctypes.c_void_p
_capsule = ctypes.pythonapi.PyCapsule_New
_capsule.argtypes, _capsule.restype = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p], ctypes.py_object


class _Constant(ctypes.Structure):
    _fields_ = (("name", ctypes.c_char_p), ("handle", ctypes.c_void_p))


class NativeLayer:
    """The code of a package that torch's compiler made for a CPU, over one layer's tensors: tensors in, one out."""

    def __init__(self, code: ctypes.CDLL, constant: Callable[[str], torch.Tensor]) -> None:
        """`constant` finds what the code knows by a name; it is used where it lies. Raises what that raises, and
        OSError where the code cannot be set up."""
        self._run = code.AOTInductorModelContainerRun
        self._container = ctypes.c_void_p()
        failed = code.AOTInductorModelContainerCreateWithDevice(
            ctypes.byref(self._container), ctypes.c_size_t(1), b"cpu", None
        )
        if failed:
            raise OSError(
                f"the compiled code says {failed} to being set up; the lines before this one say why"
            )
        names = _constants(code, self._container)
        handles = _HANDLES.unsafe_alloc_void_ptrs_from_tensors([constant(name.decode()) for name in names])
        pairs = [
            _Constant(name, _pointer_of(handle, None)) for name, handle in zip(names, handles, strict=True)
        ]
        failed = code.AOTInductorModelContainerUpdateUserManagedConstantBufferPairs(
            self._container, (_Constant * len(pairs))(*pairs), ctypes.c_size_t(len(pairs)), _IN_USE, _ALL
        )
        for handle in handles:  # the code keeps the memory by handles of its own; these end as tensors do
            _HANDLES.alloc_tensor_by_stealing_from_void_ptr(handle)
        if failed:
            raise OSError(
                f"the compiled code says {failed} to this layer's tensors; the lines before this one say why"
            )

    def __call__(self, inputs: Sequence[torch.Tensor]) -> torch.Tensor:
        count = len(inputs)
        handles = _HANDLES.unsafe_alloc_void_ptrs_from_tensors(inputs)  # the call below takes them over
        given = (ctypes.c_void_p * count)(*(_pointer_of(handle, None) for handle in handles))
        found = (ctypes.c_void_p * 1)()
        failed = self._run(
            self._container, given, ctypes.c_size_t(count), found, ctypes.c_size_t(1), None, None
        )
        if failed:
            raise RuntimeError(f"the compiled layer failed with {failed}; the lines before this one say why")
        return _HANDLES.alloc_tensor_by_stealing_from_void_ptr(_capsule(found[0], None, None))


def native_code(package: Path) -> ctypes.CDLL:
    """The code in `package`. Raises ValueError where it needs more than itself, OSError where it cannot be loaded."""
    with (
        zipfile.ZipFile(package) as packed,
        tempfile.TemporaryDirectory(prefix="skerry-layers-") as folder,
    ):
        names = packed.namelist()
        codes = [name for name in names if name.endswith(".so")]
        if len(codes) != 1 or any(_OUTSIDE in name for name in names):
            raise ValueError(f"{package} is not one layer's code alone: {', '.join(names)}")
        return ctypes.CDLL(packed.extract(codes[0], folder))  # once loaded, the file is not read again


def _constants(code: ctypes.CDLL, container: ctypes.c_void_p) -> list[bytes]:
    """The names of all that the code computes with and was not given as an input."""
    count, name, names = ctypes.c_size_t(), ctypes.c_char_p(), list[bytes]()
    failed = code.AOTInductorModelContainerGetNumConstants(container, ctypes.byref(count))
    for index in range(count.value):
        failed = failed or code.AOTInductorModelContainerGetConstantName(
            container, ctypes.c_size_t(index), ctypes.byref(name)
        )
        names.append(name.value or b"")
    if failed:
        raise OSError(f"the compiled code says {failed} to being asked for its constants")
    return names
