"""How these tests run."""

from tests.threads import one_thread_a_module, one_thread_a_test, threads_as_before

__all__ = ["one_thread_a_module", "one_thread_a_test", "threads_as_before"]
