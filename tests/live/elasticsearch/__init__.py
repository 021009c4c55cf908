"""What makes an Elasticsearch server of the jars that Elastic publishes."""
