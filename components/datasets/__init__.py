"""Data sets: functions that return a `tfrun.data.table.Table`. Nothing here imports TensorFlow.

A function may take `rows_only`, with which it reads rows without a target, `trained_columns`, the columns of the run
that the rows are for, `text_encodings`, the encodings of the columns that the config makes texts, and `column_kinds`,
the names of all kinds that it names.

csv.py: csv. npz.py: npz. parquet.py: parquet. tfrecord.py: tfrecord. images.py: images. embedded.py: diabetes, digits,
episodes, sinusoids. image_files.py, image_pixels.py, image_pieces.py: find and decode images. csv_file.py,
csv_lines.py, csv_numbers.py, csv_units.py: read CSV files. arrow_file.py, arrow_types.py, arrow_shards.py: read columns
of Arrow's types. npz_archive.py, npz_columns.py: read .npz files. tfrecord_file.py, tf_example.py, tf_features.py: read
TFRecord files. columns.py, column_checks.py, texts.py, stored_columns.py, pieces.py: what all files of columns share.
paths.py: finds files. packed.py: reads compressed ones. dates.py: recognizes dates. checks.py: what all data sets share
that are read from files.
"""
