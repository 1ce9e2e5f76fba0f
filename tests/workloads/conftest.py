import os
import tempfile

# torch's compiler makes its cache folder as soon as torchao or transformers is imported, by default in /tmp.
_compiled = tempfile.TemporaryDirectory()  # goes with this process
os.environ["TORCHINDUCTOR_CACHE_DIR"] = _compiled.name
