"""Holds every server's view of a request against the gateway's: generated requests, real servers, a judge."""
