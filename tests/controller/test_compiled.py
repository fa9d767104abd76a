"""Where nothing can be kept, the simulator's loops are compiled all the same."""

from types import SimpleNamespace

import numba

from controller.simulator import jit


def test_without_a_folder_for_it_code_is_compiled_in_each_process(monkeypatch):
    """As numba says it where neither the cache folder nor the sources' own can be written."""

    def nowhere(*, cache=False, **options):
        def refuse(function):
            raise RuntimeError(f"cannot cache function '{function.__name__}': no locator available")

        return refuse if cache else numba.njit(**options)

    monkeypatch.setattr(jit, "numba", SimpleNamespace(njit=nowhere))
    assert jit.jit(lambda number: number + 1)(2) == 3
