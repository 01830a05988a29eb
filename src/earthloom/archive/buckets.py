"""Static catalogs in object stores.

Images there are read by GDAL itself, which takes `s3://`, `gs://` and `az://` addresses.
"""

from pystac.stac_io import DefaultStacIO

from earthloom.errors import ArchiveError, DataError
from earthloom.objects import is_object_url, read_object


class BucketFiles(DefaultStacIO):
    """The files of a static catalog, from an object store where they lie in one."""

    def read_text_from_href(self, href: str) -> str:
        if not is_object_url(href):
            return super().read_text_from_href(href)
        try:
            return read_object(href).decode()
        except (DataError, UnicodeDecodeError) as error:
            raise ArchiveError(f"the catalog lacks a file: {error}") from error
