"""Metadata written into a TFLite model, read back with MediaPipe's schemas."""

import numpy as np
import pytest

from musclemap_jax.pose.tflite_metadata import with_image_normalisation


@pytest.fixture
def schemas():
    """The modules of both schemas: TFLite's and the metadata's."""
    pytest.importorskip("mediapipe")
    from mediapipe.tasks.metadata import metadata_schema_py_generated, schema_py_generated

    return schema_py_generated, metadata_schema_py_generated


@pytest.fixture
def model(schemas):
    """A model with one input, two outputs, two buffers and metadata of its own."""
    import flatbuffers

    tflite, _ = schemas
    tables, subgraph = tflite.ModelT(), tflite.SubGraphT()
    subgraph.tensors = [tflite.TensorT() for _ in range(3)]
    subgraph.inputs, subgraph.outputs = [0], [1, 2]
    tables.version, tables.subgraphs, tables.buffers = 3, [subgraph], []
    for content in (b"weights", b"old metadata"):
        buffer = tflite.BufferT()
        buffer.data = content
        tables.buffers.append(buffer)
    tables.metadata = []
    for name, place in (("min_runtime_version", 0), ("TFLITE_METADATA", 1)):
        entry = tflite.MetadataT()
        entry.name, entry.buffer = name, place
        tables.metadata.append(entry)
    builder = flatbuffers.Builder(0)
    builder.Finish(tables.Pack(builder), b"TFL3")
    return bytes(builder.Output())


@pytest.mark.pose
def test_the_normalisation_is_added_and_the_rest_kept(schemas, model):
    tflite, schema = schemas
    tables = tflite.ModelT.InitFromObj(tflite.Model.GetRootAsModel(with_image_normalisation(model, 127.5, 63.0), 0))
    assert bytes(np.asarray(tables.buffers[0].data, np.uint8)) == b"weights"
    assert list(tables.subgraphs[0].outputs) == [1, 2]
    entries = {entry.name: entry.buffer for entry in tables.metadata}
    assert entries == {b"min_runtime_version": 0, b"TFLITE_METADATA": 2}

    content = bytes(np.asarray(tables.buffers[2].data, np.uint8))
    assert content[4:8] == b"M001"
    metadata = schema.ModelMetadataT.InitFromObj(schema.ModelMetadata.GetRootAsModelMetadata(content, 0))
    (subgraph,) = metadata.subgraphMetadata
    assert len(subgraph.outputTensorMetadata) == 2
    (image,) = subgraph.inputTensorMetadata
    (unit,) = image.processUnits
    assert unit.optionsType == schema.ProcessUnitOptions.NormalizationOptions
    assert (unit.options.mean, unit.options.std) == ([127.5], [63.0])
    assert image.content.contentPropertiesType == schema.ContentProperties.ImageProperties
    assert image.content.contentProperties.colorSpace == schema.ColorSpaceType.RGB


@pytest.mark.parametrize("content", [b"", b"\x1c\0\0\0TFL", b"<html>no model"])
def test_another_file_is_refused(content):
    with pytest.raises(ValueError, match=f"expected a TFLite model, got {len(content)} bytes that are not one"):
        with_image_normalisation(content, 0.0, 255.0)
