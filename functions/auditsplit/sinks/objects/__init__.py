"""What all object stores share: layout, options, parallel puts. A module for each store speaks with its server.

A batch becomes an object for each user, or for each value of the key template. The name of an object contains a hash of
its content, so a retry meets its own objects. The sink needs no memory for that, and no permission to read.
"""
