"""What a Linux host tells of an instance, its neighbours and itself, once a second.

`processes` and `host` read the kernel's files, `counters` asks the processor, `probes` measures how
long a little work takes right now, `sampler` puts the differences of a second in one row.
"""
