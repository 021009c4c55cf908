"""What all object stores share; the module of each store beside this folder only speaks with its server.

A batch becomes an object for each user (or whatever the key's template tells apart). The object's name has a hash of
what is in it, so a retry meets its own objects, and a store needs neither memory nor the permission to read.
"""
