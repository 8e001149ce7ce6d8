"""Importers: files of a person become events; what could not be read is reported with file, line and reason."""
