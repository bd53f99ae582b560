"""Use cases of clients and operators on a licence server, whatever decides and stores behind it."""
