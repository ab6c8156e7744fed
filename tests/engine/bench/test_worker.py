import sys
import threading
import time

import pytest

from sparsefeat.bench.worker import delay_seconds, thread_delays


def test_delays_count_only_threads_that_existed_throughout() -> None:
    before = {1: 5 * 10**9, 2: 10**9, 3: 10**9}
    after = {
        1: 7 * 10**9,
        3: 10**9 - 1,
        4: 9 * 10**9,
    }  # 2 has ended, 4 has begun, the count of 3 went down
    assert delay_seconds(before, after) == 2.0
    assert delay_seconds({}, after) == delay_seconds(before, {}) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone says it")
def test_the_delay_of_each_thread_is_read() -> None:
    stop = threading.Event()
    other = threading.Thread(target=stop.wait)
    other.start()
    try:
        assert {threading.get_native_id(), other.native_id} <= set(thread_delays())
    finally:
        stop.set()
        other.join()
    deadline = time.monotonic() + 60  # Linux lists a thread for a moment after its end
    while other.native_id in thread_delays():
        assert time.monotonic() < deadline
