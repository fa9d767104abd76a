"""Reports: asked for, made from views, rendered and written."""
