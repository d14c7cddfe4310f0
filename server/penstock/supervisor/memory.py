"""How much memory this process has resident, with the standard library alone.

Linux tells what is resident at this moment, and so does Windows (its working set). macOS and the BSDs tell a process
only the most it ever had, which is as good a measure for memory that is lost and never comes back.
"""

import sys


def resident() -> int | None:
    """Octets that this process has resident; None where nobody says."""
    try:
        if sys.platform == "win32":
            return _working_set()
        if sys.platform == "linux":
            import os

            # proc(5): the second number is resident, in pages.
            with open("/proc/self/statm", "rb") as numbers:
                return int(numbers.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        import resource

        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most << 10
    except (OSError, ImportError):
        return None


def _working_set() -> int | None:
    """GetProcessMemoryInfo (psapi.h), whose PROCESS_MEMORY_COUNTERS are two DWORDs and eight SIZE_Ts."""
    import ctypes

    windows: "ctypes.LibraryLoader[ctypes.CDLL]" = ctypes.windll  # type: ignore[attr-defined]
    kernel = windows.kernel32
    kernel.GetCurrentProcess.restype = ctypes.c_void_p
    counters = (ctypes.c_size_t * 10)()
    measure = kernel.K32GetProcessMemoryInfo
    measure.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint32]
    # The two DWORDs stand where one SIZE_T does on 64 bits, two on 32.
    first = 8 // ctypes.sizeof(ctypes.c_size_t)
    size = 8 + 8 * ctypes.sizeof(ctypes.c_size_t)
    return counters[first + 1] if measure(kernel.GetCurrentProcess(), counters, size) else None
