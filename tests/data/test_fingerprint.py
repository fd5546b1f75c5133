import numpy as np

from dlrun.data.fingerprint import fingerprint, same_data, with_names


def test_same_arrays_same_digest_and_any_change_another() -> None:
    arrays = [np.arange(6, dtype=np.int32), np.eye(2)]
    first = fingerprint(arrays)
    assert first == fingerprint([array.copy() for array in arrays])
    changed = [array.copy() for array in arrays]
    changed[0][3] = 9
    others = [changed, arrays[::-1], [arrays[0].reshape(2, 3), arrays[1]]]
    others.append([arrays[0].astype(np.int64), arrays[1]])
    assert len({first, *map(fingerprint, others)}) == 5


def test_words_and_labels_in_their_order_belong_to_it() -> None:
    arrays = fingerprint([np.eye(2)])
    assets = {"labels": ["a", "b"], "vocabulary": ["good", "bad"], "width": 3}
    now = with_names(arrays, assets)
    assert same_data(now, with_names(arrays, assets | {"width": 4}))
    for key, names in (("labels", ["b", "a"]), ("vocabulary", ["bad", "good"]), ("labels", ["ab"])):
        assert not same_data(now, with_names(arrays, assets | {key: names}))
    assert not same_data(now, with_names(fingerprint([np.eye(3)]), assets))
    assert same_data(arrays, now)  # as dlrun 0.2 wrote it
    assert not same_data(None, now) and not same_data(arrays[:-1], now)
