"""Reports: asked for, made from views, rendered and written; scheduled ones are sent as well."""
