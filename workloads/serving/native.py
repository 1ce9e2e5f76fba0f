"""A compiled layer, called through AOTInductor's C interface: other threads of Python run meanwhile.

torch's own binding holds the interpreter's lock while a layer computes (torch/csrc/inductor/aoti_package/pybind.cpp in
2.15), so the event loop would wait for a layer at each of its sends, several in every step.
"""

import ctypes
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

_TORCH: Any = torch._C
_HANDLES = _TORCH._aoti  # made by torch for callers of the C interface
_OUTSIDE = "extern_kernel_nodes"  # operators that the code itself does not know how to call

_pointer_of = ctypes.pythonapi.PyCapsule_GetPointer
_pointer_of.argtypes, _pointer_of.restype = [ctypes.py_object, ctypes.c_char_p], ctypes.c_void_p
_capsule = ctypes.pythonapi.PyCapsule_New
_capsule.argtypes, _capsule.restype = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p], ctypes.py_object


class NativeLayer:
    """The code in a package that torch's compiler made for a CPU: tensors in, one tensor out."""

    def __init__(self, package: Path) -> None:
        """Raises ValueError for a package that needs more than its own code, OSError where that cannot be loaded."""
        with (
            zipfile.ZipFile(package) as packed,
            tempfile.TemporaryDirectory(prefix="skerry-layers-") as folder,
        ):
            names = packed.namelist()
            codes = [name for name in names if name.endswith(".so")]
            if len(codes) != 1 or any(_OUTSIDE in name for name in names):
                raise ValueError(f"{package} is not one layer's code alone: {', '.join(names)}")
            code = ctypes.CDLL(packed.extract(codes[0], folder))  # once loaded, the file is not read again
        self._run = code.AOTInductorModelContainerRun
        self._container = ctypes.c_void_p()
        made = code.AOTInductorModelContainerCreateWithDevice(
            ctypes.byref(self._container), ctypes.c_size_t(1), b"cpu", None
        )
        if made:
            raise OSError(f"{package}: the compiled code says {made} to being set up")

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
