"""Buckets of object storage (S3): their file system, datasets and raw files fetched, datasets read where they lie, and written part by part."""
