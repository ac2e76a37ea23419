"""Lets strace attach to a server of the tests where only a parent may trace (Yama).

On the path of a server process, Python imports this module before anything else.
"""

import ctypes

PR_SET_PTRACER = 0x59616D61
ANY = ctypes.c_ulong(-1)

ctypes.CDLL(None).prctl(PR_SET_PTRACER, ANY, 0, 0, 0)
