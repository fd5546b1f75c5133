import numpy as np

from dlrun.fingerprint import fingerprint


def test_same_arrays_same_digest_and_any_change_another() -> None:
    arrays = [np.arange(6, dtype=np.int32), np.eye(2)]
    first = fingerprint(arrays)
    assert first == fingerprint([array.copy() for array in arrays])
    changed = [array.copy() for array in arrays]
    changed[0][3] = 9
    others = [changed, arrays[::-1], [arrays[0].reshape(2, 3), arrays[1]]]
    others.append([arrays[0].astype(np.int64), arrays[1]])
    assert len({first, *map(fingerprint, others)}) == 5
