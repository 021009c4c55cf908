"""The Elasticsearch store: each event a document, in its user's own data stream, created once.

::

    batch ─▶ streams ─▶ document ─▶ bulk ─▶ store ─▶ client ─▶ _bulk
             which data  event to    bodies   again,    the official client
             stream      document    of 8 MB  for whom

`template` has the mappings, `failures` sorts the server's answers by who must act. `store` has the entry point.
"""
