"""One run: its configuration, how it is put together and how it is carried out."""
