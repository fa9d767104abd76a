"""Requests as rows from elsewhere: what gateways post, and the result files of benchmark tools."""
