"""Metadata of a TFLite model that says how images are normalised; MediaPipe's tasks refuse a model without it.

The tables are those of MediaPipe's ``metadata_schema.fbs`` and TensorFlow Lite's ``schema.fbs``, whose Python modules
are part of MediaPipe's wheels; MediaPipe's own writer of metadata is not importable in all of its releases.
"""

from __future__ import annotations

_MODEL_IDENTIFIER = b"TFL3"
_METADATA_IDENTIFIER = b"M001"
_METADATA_NAME = "TFLITE_METADATA"


def with_image_normalisation(model: bytes, mean: float, std: float) -> bytes:
    """A copy of a model whose metadata says that its input is an RGB image normalised by (pixel - mean) / std.

    Args:
      model: A TFLite file with one input; its metadata, if any, is replaced.
      mean: In units of pixels, 0 to 255.
      std: In units of pixels.

    Raises:
      ValueError: Not a TFLite file.
    """
    if model[4:8] != _MODEL_IDENTIFIER:
        raise ValueError(f"expected a TFLite model, got {len(model)} bytes that are not one")
    import flatbuffers
    from mediapipe.tasks.metadata import schema_py_generated as tflite

    tables = tflite.ModelT.InitFromObj(tflite.Model.GetRootAsModel(model, 0))
    others = [entry for entry in tables.metadata or [] if entry.name != _METADATA_NAME.encode()]
    entry = tflite.MetadataT()
    entry.name, entry.buffer = _METADATA_NAME, len(tables.buffers)
    buffer = tflite.BufferT()
    buffer.data = _image_metadata(len(tables.subgraphs[0].outputs), mean, std)
    tables.buffers.append(buffer)
    tables.metadata = [*others, entry]
    builder = flatbuffers.Builder(len(model) + (1 << 16))
    builder.Finish(tables.Pack(builder), _MODEL_IDENTIFIER)
    return bytes(builder.Output())


def _image_metadata(num_outputs: int, mean: float, std: float) -> bytes:
    """The metadata as a flat buffer: one image as input, outputs of any kind."""
    import flatbuffers
    from mediapipe.tasks.metadata import metadata_schema_py_generated as schema

    normalisation = schema.ProcessUnitT()
    normalisation.optionsType = schema.ProcessUnitOptions.NormalizationOptions
    normalisation.options = schema.NormalizationOptionsT()
    normalisation.options.mean, normalisation.options.std = [mean], [std]
    content = schema.ContentT()
    content.contentPropertiesType = schema.ContentProperties.ImageProperties
    content.contentProperties = schema.ImagePropertiesT()
    content.contentProperties.colorSpace = schema.ColorSpaceType.RGB
    image = schema.TensorMetadataT()
    image.name, image.content, image.processUnits = "image", content, [normalisation]
    subgraph = schema.SubGraphMetadataT()
    subgraph.inputTensorMetadata = [image]
    subgraph.outputTensorMetadata = [schema.TensorMetadataT() for _ in range(num_outputs)]
    metadata = schema.ModelMetadataT()
    metadata.subgraphMetadata = [subgraph]
    builder = flatbuffers.Builder(0)
    builder.Finish(metadata.Pack(builder), _METADATA_IDENTIFIER)
    return bytes(builder.Output())
