"""Problems from elsewhere: one file per source, none of which the rest of the package imports.

- ``wfcommons``: recorded scientific workflows: which files to keep when one step is varied;
- ``dask_graph``: task graphs of Dask: which chunks to persist in a limited memory;
- ``memo``: Python functions that were recorded once: which results to cache on a small disk.
"""
