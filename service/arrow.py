"""Feature vectors → an Apache Arrow IPC stream: one record batch, a row an image."""

import io

import numpy as np

from service.vectors import Vectors


def write_arrow(vectors: Vectors) -> bytes:
    """Writes a stream that pyarrow, polars, DuckDB, R and JavaScript read as a table.

    Its columns are `features`, a fixed-size list of D float32 or float16, and, where single images may fail, `index`,
    int64, the image's place in the request. The schema's metadata name the
    `source`.
    """
    # Loaded when the first client asks for it: most never do, and the service starts without it.
    import nanoarrow
    from nanoarrow.ipc import StreamWriter

    count, size = vectors.rows.shape
    number = (nanoarrow.float32 if vectors.dtype == "float32" else nanoarrow.float16)(nullable=False)
    fields = {"features": nanoarrow.fixed_size_list(number, size, nullable=False)}
    numbers = nanoarrow.c_array_from_buffers(number, count * size, [None, vectors.rows.ravel()])
    columns = [nanoarrow.c_array_from_buffers(fields["features"], count, [None], children=[numbers])]
    if vectors.indices is not None:
        fields["index"] = nanoarrow.int64(nullable=False)
        places = np.asarray(vectors.indices, np.int64)
        columns.append(nanoarrow.c_array_from_buffers(fields["index"], count, [None, places]))
    schema = nanoarrow.c_schema(nanoarrow.struct(fields)).modify(metadata={"source": vectors.source})
    stream = io.BytesIO()
    with StreamWriter.from_writable(stream) as writer:
        writer.write_stream(nanoarrow.c_array_from_buffers(schema, count, [None], children=columns))
    return stream.getvalue()
