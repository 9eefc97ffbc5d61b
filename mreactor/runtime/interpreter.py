"""Which interpreter runs: the condition under which adaptations switch themselves on."""

import sys

# The build has no GIL, even where PYTHON_GIL=1 or an extension module has switched a lock on.
IS_FREE_THREADED = "t" in sys.abiflags
