"""The benchmarks of mreactor: races against other servers, scaling over threads, ten thousand connections.

Everything here drives servers as black-box processes through their ports and reads what the kernel says
about them. Nothing in this package is imported by `mreactor`. How to run it and how to read the figures:
`bench/README.md`.
"""
