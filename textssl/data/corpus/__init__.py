"""Documents -> prepared token shards on disk, and what is looked up in them."""
