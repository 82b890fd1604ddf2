"""All rows, in the order of the report."""

from training.reproduce.catalogue.best import BEST
from training.reproduce.catalogue.choices import CHOICES
from training.reproduce.catalogue.claims import CLAIMS, LABELS
from training.reproduce.catalogue.figures import FIGURE_1C, PICTURES
from training.reproduce.catalogue.tables import TABLE_1, TABLE_2, TABLE_3
from training.reproduce.rows import Row

ROWS: tuple[Row, ...] = (*TABLE_1, *TABLE_2, *TABLE_3, *PICTURES, *FIGURE_1C, *CLAIMS, *LABELS, *BEST, *CHOICES)
