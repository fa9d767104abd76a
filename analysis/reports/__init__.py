"""What a report says: periods, templates, sections and the document, without any rendering."""
