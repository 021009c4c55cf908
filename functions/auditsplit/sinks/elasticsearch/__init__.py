"""The Elasticsearch sink: each event is a document, in the data stream of its user, created once.

::

    batch ─▶ streams ─▶ document ─▶ bulk ─▶ delivery ─▶ sink ─▶ client ─▶ _bulk
             which data  event to    bodies   what is    retries, the official client
             stream      document    of 5 MB  left       deadline

`template` has the mappings, `answers` maps the server's answers and the client's errors to failures. `sink` is the
module that a URL names.
"""
