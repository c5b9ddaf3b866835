import contextlib
import faulthandler


@contextlib.contextmanager
def limited(seconds, what):
    faulthandler.dump_traceback_later(seconds, exit=True)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
