"""Times as the pages write them: day first by its month's name, 24 hours, and the zone."""

from typing import Final

DATE_FORMAT: Final = "j M Y"
DATETIME_FORMAT: Final = "j M Y H:i:s e"
SHORT_DATE_FORMAT: Final = DATE_FORMAT
SHORT_DATETIME_FORMAT: Final = DATETIME_FORMAT
TIME_FORMAT: Final = "H:i:s"
