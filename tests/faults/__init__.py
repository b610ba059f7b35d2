import pytest

pytest.register_assert_rewrite("tests.faults.endings", "tests.faults.purchases", "tests.faults.world")
