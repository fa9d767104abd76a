"""Where targets come from: lists in settings and files, HTTP, DNS and Kubernetes."""
