"""The shipper: follow kube-apiserver's log file as it grows and rotates, and deliver its lines.

`files` finds the log and its rotated files and tells them apart, `reader` reads whole lines, `follower` divides them
into batches, `checkpoint` remembers what was delivered, `delivery` takes a batch to the sinks or to a function, and
`shipper` does one after the other, again and again.
"""
