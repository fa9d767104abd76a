"""Public trace formats as data: column types and one SQL expression per stored column."""
