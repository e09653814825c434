"""Every kind of field: what TFDS stores of it is what a source reads."""

import numpy as np
import pytest
import tensorflow_datasets as tfds
from tensorflow_datasets.core.example_serializer import ExampleSerializer

from musclemap_jax.data.modalities.fields import Array, Text
from tfds_musclemap.build.features import tfds_feature
from tfds_musclemap.source import parse_record


def stored_and_read(field, value):
    features = tfds.features.FeaturesDict({"field": tfds_feature(field)})
    proto = ExampleSerializer(features.get_serialized_info()).get_tf_example(features.encode_example({"field": value}))
    return parse_record(proto.SerializeToString(), {"field": field})["field"]


@pytest.mark.parametrize("dtype", ["float32", "uint8", "int32"])
@pytest.mark.parametrize(
    ("shape", "compressed"),
    [
        ((2,), False),
        ((2,), True),
        ((None,), False),
        ((None,), True),
        ((None, 2), False),
        ((None, 2), True),
        ((2, None, 3), False),
        ((None, None, 3), True),
    ],
)
def test_arrays_of_any_shape_are_read_as_they_were_stored(shape, compressed, dtype):
    values = np.arange(np.prod([length or 4 for length in shape])).astype(dtype)
    values = values.reshape([length or 4 for length in shape])
    read = stored_and_read(Array(shape, dtype, compressed), values)
    assert read.dtype == dtype
    np.testing.assert_array_equal(read, values)


def test_numbers_and_text_are_read_as_they_were_stored():
    assert stored_and_read(Array((), "float32"), np.float32(12.5)) == 12.5
    assert stored_and_read(Text(), "Kniebeuge, tief: é") == "Kniebeuge, tief: é"
