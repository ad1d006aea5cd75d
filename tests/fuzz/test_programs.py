# SPDX-License-Identifier: Apache-2.0
"""A sample of random programs; `python tests/fuzz/programs.py 0 499` runs many."""

import programs
import pytest


@pytest.mark.parametrize("seed", [*range(25), 4079])
@pytest.mark.filterwarnings("ignore")
def test_program(seed):
    program = programs.make(seed)
    problems = programs.check(program)
    assert not problems, program.source + "\n".join(problems)


@pytest.mark.parametrize("seed", [*range(500, 510), 547])
@pytest.mark.filterwarnings("ignore")
def test_gradients(seed):
    program = programs.make(seed)
    problems = programs.check_gradients(program)
    assert not problems, program.source + "\n".join(problems)
